"""`/desk/images`: one card per file, also for a file that cannot be classified."""

from pathlib import Path

from nsfw_app.review.engine import Engine
from nsfw_app.store import Store
from tests.support.application import open_app
from tests.support.fakes import LIMITS


def test_a_file_over_the_limit_is_an_unavailable_card(
    engine: Engine, store: Store, tmp_path: Path
) -> None:
    """The page shows one card per file, so the status is 200 and the card has the error."""
    with open_app(engine, store, tmp_path) as app:
        response = app.signed_in("ann").post(
            "/desk/images",
            params={"name": "a.png", "source": "gallery"},
            content=bytes(LIMITS.max_bytes + 1),
        )
    card = response.json()
    assert (response.status_code, card["action"]) == (200, "unavailable")
    assert (card["error"]["kind"], card["nsfw_score"]) == ("too_large", None)
