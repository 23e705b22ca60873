"""Tests of `review/predictions.py`: what one image costs, and what is kept of it."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nsfw_app.errors import NotFound, StorageError, StorageErrorKind
from nsfw_app.imaging import decode
from nsfw_app.records import Action, LogFilter, Retain, Review, Upload
from nsfw_app.review.engine import Engine
from nsfw_app.review.policies import PolicyBook
from nsfw_app.rules.permissions import (
    ANONYMOUS,
    DEMO,
    Caller,
    Permission,
    UserRole,
    key_caller,
    local_caller,
    retain_submission,
    retain_upload,
    user_caller,
)
from nsfw_app.store import Store
from nsfw_app.store.connections import _Cursor
from tests.support.application import open_app
from tests.support.fakes import FakeClassifier, image_bytes
from tests.support.sample_records import person

ALLOWED, WAITING, BLOCKED = 0, 128, 250  # reds: scores below the review band, in it, above it
LARGE_JPEG = image_bytes(WAITING, size=(2000, 1500), image_format="JPEG")
ANN = person("ann")


@contextmanager
def costs(patch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Count decodings, readings of the policy, transactions, and statements outside of them."""
    found: Counter[str] = Counter()

    def counted(owner: object, method: str, name: str) -> None:
        original = getattr(owner, method)

        def count(*args: object, **kwargs: object) -> object:
            found[name] += 1
            return original(*args, **kwargs)

        patch.setattr(owner, method, count)

    execute = _Cursor.execute

    def traced(cursor: _Cursor, sql: str, parameters: object = ()) -> _Cursor:
        tokens = sql.lower().split()
        opens = "sqlite_master" in tokens or "_sqlite_migrations" in tokens  # a thread's connection
        if tokens[0] == "begin":
            found["writes"] += 1
        elif not cursor.connection.in_transaction and tokens[0] != "pragma" and not opens:
            found["reads"] += 1
        return execute(cursor, sql, parameters)

    with patch.context() as patch:
        counted(decode, "decode", "decodings")
        counted(PolicyBook, "of", "policies")
        patch.setattr(_Cursor, "execute", traced)
        yield found


def submitted(engine: Engine, data: bytes) -> Review:
    """Submit an image as a program does."""
    return engine.review(data, Upload("a.jpg", "api", "ann", retain=Retain.SUBMISSION))


def test_a_submission_in_the_band_costs_one_look_up_and_one_transaction(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two decodings at reduced and full scale, the policy read once, everything stored at once."""
    with costs(monkeypatch) as found:
        review = submitted(engine, LARGE_JPEG)
    assert review.verdict.action is Action.REVIEW
    assert review.submission_id is not None
    assert engine.preview_jpeg(review.sha256 or "", ANN)
    assert engine.queue.waiting("bob") == 1
    # One read is the policy's, one the catalog's.
    assert found == {"decodings": 2, "policies": 1, "reads": 2, "writes": 1}


@pytest.mark.parametrize(
    ("retain", "red", "expected"),
    [
        (Retain.NOTHING, WAITING, {"decodings": 2, "policies": 1, "reads": 1, "writes": 0}),
        (Retain.SCORE, WAITING, {"decodings": 2, "policies": 1, "reads": 2, "writes": 1}),
        (Retain.SCORE, ALLOWED, {"decodings": 1, "policies": 1, "reads": 2, "writes": 1}),
        (Retain.QUEUE, WAITING, {"decodings": 1, "policies": 1, "reads": 2, "writes": 1}),
        (Retain.QUEUE, ALLOWED, {"decodings": 1, "policies": 1, "reads": 2, "writes": 1}),
        (Retain.SUBMISSION, ALLOWED, {"decodings": 1, "policies": 1, "reads": 2, "writes": 1}),
        (Retain.SUBMISSION, BLOCKED, {"decodings": 2, "policies": 1, "reads": 2, "writes": 1}),
    ],
)
def test_costs_of_a_large_jpeg(
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    retain: Retain,
    red: int,
    expected: dict[str, int],
) -> None:
    """Nothing is looked up, decoded or written twice; a preview needs all pixels at once here."""
    data = image_bytes(red, size=(2000, 1500), image_format="JPEG")
    with costs(monkeypatch) as found:
        engine.review(data, Upload("a.jpg", "test", "ann", retain=retain))
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("retain", "writes"), [(Retain.SCORE, 0), (Retain.QUEUE, 1), (Retain.SUBMISSION, 1)]
)
def test_known_bytes_are_not_decoded(
    engine: Engine,
    classifier: FakeClassifier,
    monkeypatch: pytest.MonkeyPatch,
    retain: Retain,
    writes: int,
) -> None:
    """An image whose preview is kept costs one look-up, and one transaction for a new upload."""
    submitted(engine, LARGE_JPEG)
    seen = classifier.seen
    with costs(monkeypatch) as found:
        engine.review(LARGE_JPEG, Upload("b.jpg", "api", "bob", retain=retain))
    assert (found["decodings"], found["reads"], found["writes"]) == (0, 2, writes)
    assert classifier.seen == seen


def test_a_known_score_needs_one_decoding_for_its_preview(
    engine: Engine, classifier: FakeClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image with only a stored score is decoded once for its preview, not for the model."""
    engine.review(LARGE_JPEG, Upload("a.jpg", "command"))
    seen = classifier.seen
    with costs(monkeypatch) as found:
        review = submitted(engine, LARGE_JPEG)
    assert engine.preview_jpeg(review.sha256 or "", ANN)
    assert (found["decodings"], found["reads"], found["writes"]) == (1, 2, 1)
    assert classifier.seen == seen


def test_the_request_costs_no_more(
    engine: Engine, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`POST /v1/images?queue=true` adds the look-up of the key, and no other cost."""
    finds: list[str] = []
    find = store.catalog.find
    monkeypatch.setattr(
        store.catalog, "find", lambda sha256, *a, **k: finds.append(sha256) or find(sha256, *a, **k)
    )
    records: list[str] = []
    record = store.catalog.record
    monkeypatch.setattr(
        store.catalog, "record", lambda *a, **k: records.append("write") or record(*a, **k)
    )
    with open_app(engine, store, tmp_path) as web_app:
        program = web_app.with_key(Permission.QUEUE)
        with costs(monkeypatch) as found:
            response = program.post(
                "/v1/images", params={"queue": "true"}, files={"file": ("a.jpg", LARGE_JPEG)}
            )
    [image] = response.json()["images"]
    assert (image["action"], bool(image["id"])) == ("review", True)
    assert (found["decodings"], found["policies"], len(finds), len(records)) == (2, 1, 1, 1)
    # One read is the key's, one the policy's, one the catalog's.
    assert (found["reads"], found["writes"]) == (3, 1)


@pytest.mark.parametrize(
    ("retain", "red", "rows", "previews", "waiting"),
    [
        (Retain.NOTHING, WAITING, 0, 0, 0),
        (Retain.SCORE, WAITING, 1, 0, 0),
        (Retain.PREVIEW, WAITING, 1, 1, 0),
        (Retain.QUEUE, ALLOWED, 1, 1, 0),
        (Retain.QUEUE, WAITING, 1, 1, 1),
        (Retain.SUBMISSION, ALLOWED, 1, 0, 0),
        (Retain.SUBMISSION, WAITING, 1, 1, 1),
    ],
)
def test_retain_says_what_is_kept(
    engine: Engine, tmp_path: Path, retain: Retain, red: int, rows: int, previews: int, waiting: int
) -> None:
    """Each value keeps exactly its rows and files, and only a submission has an id."""
    review = engine.review(image_bytes(red), Upload("a.png", "test", "ann", retain=retain))
    sha256 = review.sha256 or ""
    files = [path for path in (tmp_path / "images").rglob("*") if path.is_file()]
    assert len(files) == previews
    assert engine.queue.waiting("bob") == waiting
    assert (review.submission_id is not None) == (retain is Retain.SUBMISSION and waiting == 1)
    if rows:
        engine.preview(sha256)
    else:
        with pytest.raises(NotFound):
            engine.preview(sha256)


def test_a_failed_transaction_stores_nothing(
    engine: Engine, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A submission that cannot be added leaves no image, no preview and no queue entry."""

    def fail(*_: object) -> str:
        raise StorageError(StorageErrorKind.FULL)

    with monkeypatch.context() as patch:
        patch.setattr(store.submissions, "add", fail)
        with pytest.raises(StorageError):
            submitted(engine, LARGE_JPEG)
    sha256 = decode.sha256(LARGE_JPEG)
    assert not engine.has_preview(sha256)
    with pytest.raises(NotFound):
        engine.preview(sha256)
    assert engine.queue.waiting("bob") == 0
    assert engine.log.size(LogFilter()) == 0
    assert submitted(engine, LARGE_JPEG).submission_id is not None


@pytest.mark.parametrize(
    ("caller", "upload", "submission"),
    [
        (DEMO, Retain.NOTHING, Retain.SCORE),
        (ANONYMOUS, Retain.NOTHING, Retain.SCORE),
        (user_caller("vera", UserRole.VIEWER), Retain.PREVIEW, Retain.SCORE),
        (user_caller("ann", UserRole.REVIEWER), Retain.QUEUE, Retain.SUBMISSION),
        (local_caller("ann"), Retain.QUEUE, Retain.SUBMISSION),
        (key_caller("shop", frozenset({Permission.CLASSIFY})), Retain.SCORE, Retain.SCORE),
        (key_caller("shop", frozenset({Permission.QUEUE})), Retain.SCORE, Retain.SUBMISSION),
    ],
)
def test_permissions_choose_what_is_kept(
    caller: Caller, upload: Retain, submission: Retain
) -> None:
    """One function for the page, one for the REST API; no caller keeps more than it may see."""
    assert (retain_upload(caller), retain_submission(caller)) == (upload, submission)


def test_more_than_the_score_needs_an_owner() -> None:
    """An upload without an owner keeps its score at most."""
    assert Upload("a.png", "command").retain is Retain.SCORE
    for retain in (Retain.PREVIEW, Retain.QUEUE, Retain.SUBMISSION):
        with pytest.raises(ValueError, match="owner"):
            Upload("a.png", "test", retain=retain)
