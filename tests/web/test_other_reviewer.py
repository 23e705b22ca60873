"""Decisions that waited in a browser are never recorded under another reviewer's name."""

from pathlib import Path
from urllib.parse import quote

import pytest

from nsfw_app.records import LogFilter
from nsfw_app.review.engine import Engine
from nsfw_app.store import Store
from tests.support.application import add, answer_to, open_app


def reviewers(store: Store) -> list[str]:
    """The reviewer of each row of the log."""
    return [decision.reviewer for decision in store.log.rows(LogFilter())]


@pytest.mark.parametrize("batch", [False, True])
def test_a_decision_is_recorded_under_the_name_of_who_made_it(
    engine: Engine, store: Store, tmp_path: Path, *, batch: bool
) -> None:
    """The header names the reviewer; another session is refused and nothing is recorded."""
    with open_app(engine, store, tmp_path) as app:
        ann, bob = app.signed_in("ann"), app.signed_in("bob")
        body = answer_to(add(ann))
        path, sent = ("batches", {"answers": [body]}) if batch else ("decisions", body)
        headers = {"nsfw-reviewer": "ann"}
        refused = bob.post(f"/desk/{path}", json=sent, headers=headers)
        assert refused.status_code == 409
        assert refused.json()["error"]["kind"] == "other_reviewer"
        assert reviewers(store) == []
        assert ann.post(f"/desk/{path}", json=sent, headers=headers).status_code == 200
        assert reviewers(store) == ["ann"]


def test_names_are_percent_encoded(engine: Engine, store: Store, tmp_path: Path) -> None:
    """A header holds ASCII only, a name any letters."""
    with open_app(engine, store, tmp_path, roles={}, reviewer="Зоя") as app:
        body = answer_to(add(app.client))
        for name, status in (("Зоя", 200), ("Юрий", 409)):
            headers = {"nsfw-reviewer": quote(name)}
            assert (
                app.client.post("/desk/decisions", json=body, headers=headers).status_code == status
            )
