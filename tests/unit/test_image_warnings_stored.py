"""Warnings and missing pixels, from the bytes to the verdict, the store, the log and the API."""

import base64
import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from sqlite_utils import Database

from nsfw_app.imaging.image_warnings import extension_warning, warnings_of
from nsfw_app.models.loader import Loaded, ModelLoader
from nsfw_app.records import (
    Action,
    Background,
    ImageInfo,
    ImageWarning,
    JudgedImage,
    Label,
    LogFilter,
    Retain,
    Upload,
    WarningCode,
)
from nsfw_app.review.engine import Engine
from nsfw_app.review.exports import log_csv, log_jsonl
from nsfw_app.review.image_json import review_json
from nsfw_app.review.policies import PolicyBook
from nsfw_app.rules.audit_plan import AuditPlan
from nsfw_app.rules.queue import QueueReason, QueueRules
from nsfw_app.store import Store
from nsfw_app.store.migrations import migrations
from tests.support.application import open_app
from tests.support.fakes import LIMITS, FakeClassifier, image_bytes
from tests.support.flawed_files import PHOTO_PNG, chunk, with_chunk, without_end
from tests.support.image_files import FILES, encoded, sample_photo
from tests.support.sample_records import SHA256, answer_to, person

ANN = person("ann")
BY_ANN = Upload("a.png", "gallery", "ann", retain=Retain.QUEUE)
FLAWED = with_chunk(PHOTO_PNG, chunk(b"tEXt", b"a\0b", checksum=1))


def dark_jpeg() -> bytes:
    """A truncated image with a low score of the fake classifier."""
    image = Image.new("RGB", (64, 96), (3, 90, 60))
    image.paste(sample_photo((64, 64)), (0, 32))
    data = encoded(image, "JPEG", subsampling=0)
    return data[: len(data) * 2 // 3]


def codes(review: object) -> list[str]:
    """The codes of a review's warnings, as JSON has them."""
    return [warning["code"] for warning in review_json(review)["warnings"]]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "image_format", "expected"),
    [
        ("image.png", "JPEG", "The file is a JPEG image, but its name ends in .png."),
        ("image.HEIC", "JPEG", "The file is a JPEG image, but its name ends in .heic."),
        ("image.jpg", "HEIF", "The file is a HEIC image, but its name ends in .jpg."),
        ("IMAGE.JPG", "WEBP", "The file is a WebP image, but its name ends in .jpg."),
        ("image.ico", "PNG", "The file is a PNG image, but its name ends in .ico."),
        ("image.html", "GIF", "The file is a GIF image, but its name ends in .html."),
        ("image.pdf", "TIFF", "The file is a TIFF image, but its name ends in .pdf."),
        ("image.jpg.exe", "JPEG", "The file is a JPEG image, but its name ends in .exe."),
        ("image.JPG", "JPEG", None),
        ("image.jfif", "JPEG", None),
        ("image.mpo", "JPEG", None),
        ("image.apng", "PNG", None),
        ("image.dib", "BMP", None),
        ("image.hif", "HEIF", None),
        ("image.2024-05-01", "PNG", None),
        ("image.part", "PNG", None),
        (".hidden", "WEBP", None),
        ("", "WEBP", None),
    ],
)
def test_names_that_say_something_else_are_warned_of(
    name: str, image_format: str, expected: str | None
) -> None:
    """An extension of another format, or of no image; names that fit or say nothing are not."""
    warning = extension_warning(name, image_format)
    assert (warning.message if warning else None) == expected


def test_name_does_not_affect_the_prediction(engine: Engine, classifier: FakeClassifier) -> None:
    """The same bytes have the same verdict under any name, stored or not, each with its warning."""
    data = image_bytes(200)
    names = ["a.png", "a.jpg", "a.HEIC", "a.pdf", "a.png"]
    reviews = [engine.review(data, Upload(name, "command")) for name in names]
    assert [codes(review) for review in reviews] == [
        [],
        ["extension"],
        ["extension"],
        ["extension"],
        [],
    ]
    assert len({review.verdict for review in reviews}) == 1
    assert classifier.seen == 1
    assert codes(engine.review(data, Upload("a.gif", "command", retain=Retain.NOTHING))) == [
        "extension"
    ]


def test_warnings_are_listed_in_one_order() -> None:
    """In the order of the codes; the message about transparency names the background."""
    about_bytes = tuple(
        ImageWarning(code, f"{code}.") for code in WarningCode if code is not WarningCode.EXTENSION
    )
    info = ImageInfo(SHA256, "PNG", 4, 3, 9, 1, about_bytes)
    found = warnings_of("a.jpg", info, Background.BLACK)
    assert [warning.code for warning in found] == list(WarningCode)
    assert "the black background" in found[-1].message
    assert warnings_of("a.png", replace(info, warnings=()), Background.WHITE) == ()


def test_warnings_are_stored_with_the_image(engine: Engine, store: Store) -> None:
    """A later review of the same bytes has them without decoding anything."""
    first = engine.review(FLAWED, Upload("a.png", "command"))
    again = engine.review(FLAWED, Upload("b.gif", "command"))
    assert (codes(first), codes(again)) == (["metadata"], ["extension", "metadata"])
    assert first.sha256 is not None
    stored = store.catalog.find(first.sha256, FakeClassifier.identity)
    assert stored is not None
    assert stored.info == first.image


def test_warnings_of_the_latest_decoding_count(engine: Engine, store: Store) -> None:
    """An image classified by another model later gets warnings that were not known before."""
    review = engine.review(FLAWED, Upload("a.png", "command"))
    assert review.image is not None
    assert review.prediction is not None
    identity = replace(FakeClassifier.identity, model="other")
    earlier = replace(review.image, warnings=(), incomplete=True)
    store.catalog.record(JudgedImage(earlier, replace(review.prediction, identity=identity)))
    assert store.catalog.get(1).info == earlier
    store.catalog.record(JudgedImage(review.image, review.prediction))
    assert store.catalog.get(1).info == review.image


def test_incomplete_image_is_never_allowed(engine: Engine, store: Store) -> None:
    """For any score it is queued for review, also if the prediction is from the store."""
    review = engine.review(dark_jpeg(), Upload("a.jpg", "gallery", "ann", retain=Retain.QUEUE))
    assert review.prediction is not None
    assert review.prediction.nsfw_score < 0.1
    assert (review.verdict.label, review.verdict.action) == (Label.NORMAL, Action.REVIEW)
    assert codes(review) == ["truncated"]
    assert engine.queue.waiting("bob") == 1
    [item] = engine.queue.claim("bob", model="fake", count=1, holding=(), order="priority")
    assert item.review.verdict == review.verdict
    assert item.review.warnings == review.warnings
    cached = engine.review(dark_jpeg(), Upload("a.jpg", "command"))
    assert cached.verdict == review.verdict
    assert engine.preview_jpeg(review.sha256 or "", person("bob")).startswith(b"\xff\xd8")


def test_incomplete_image_with_a_high_score_is_blocked(engine: Engine) -> None:
    """Missing pixels do not weaken a verdict."""
    image = Image.new("RGB", (64, 96), (255, 0, 0))
    image.paste(sample_photo((64, 64)), (0, 32))
    data = encoded(image, "JPEG", subsampling=0)
    review = engine.review(data[: len(data) * 2 // 3], Upload("a.jpg", "command"))
    assert review.verdict.action is Action.BLOCK


def test_jpeg_without_its_end_marker_is_classified_as_usual(engine: Engine) -> None:
    """No pixel is missing, so no reviewer has to decide it."""
    data = without_end(encoded(Image.new("RGB", (64, 64), (3, 90, 60)), "JPEG"))
    review = engine.review(data, BY_ANN)
    assert review.verdict.action is Action.ALLOW
    assert codes(review) == ["extension", "truncated"]
    assert engine.queue.waiting("bob") == 0


def test_submitted_image_that_is_incomplete_waits_for_people(engine: Engine) -> None:
    """A program's submission enters the queue for the same reason."""
    upload = Upload("a.jpg", "api", ANN.owner, retain=Retain.SUBMISSION)
    review = engine.review(dark_jpeg(), upload)
    submission = review.submission_id
    assert review.verdict.action is Action.REVIEW
    assert submission is not None
    _, later = engine.submissions.find(submission, ANN)
    assert (later.name, later.verdict, later.warnings) == ("a.jpg", review.verdict, review.warnings)


def test_audit_draws_from_the_others_only(store: Store) -> None:
    """An incomplete image enters for review, not as drawn at random."""
    store.queue.rules = QueueRules(frozenset(QueueReason), AuditPlan(1.0))
    loader = ModelLoader("fake", lambda: Loaded(FakeClassifier()))
    loader.wait()
    engine = Engine(store=store, loader=loader, limits=LIMITS, policies=PolicyBook(store.policies))
    incomplete = engine.review(dark_jpeg(), Upload("a.jpg", "command"))
    whole = engine.review(image_bytes(3), Upload("a.png", "command"))
    rules = store.queue.rules
    for review, reason in ((incomplete, QueueReason.REVIEW), (whole, QueueReason.AUDIT)):
        assert rules.admit(review.prediction, review.verdict.action).reason is reason
    engine.review(b"", BY_ANN)
    assert engine.queue.open_entries() == 0


def test_log_has_the_warnings_that_were_shown(engine: Engine) -> None:
    """A decision keeps the codes, its name's included; CSV has a JSON list, JSON Lines a list."""
    review = engine.review(FLAWED, Upload("a.jpg", "gallery", "ann", retain=Retain.QUEUE))
    made = engine.decide(replace(answer_to(review), name="a.jpg"), ANN)
    assert made.warnings == ("extension", "metadata")
    [line] = log_jsonl(engine.log.rows(LogFilter()))
    assert json.loads(line)["warnings"] == ["extension", "metadata"]
    heading, row = log_csv(engine.log.rows(LogFilter()))
    columns = heading.strip().split(",")
    assert columns[-5:-2] == ["warnings", "seen_ms", "probability"]
    assert row.strip().endswith('"[""extension"", ""metadata""]",,,,')


def test_older_images_have_no_warnings(tmp_path: Path) -> None:
    """A database from before upgrades: its images are whole, on white, and were not warned of."""
    path = tmp_path / "review.db"
    with closing(Database(path)) as old:
        migrations.apply(old, stop_before="add_warnings")
        old.execute(
            "insert into images (sha256, format, width, height, size_bytes, frames, placeholder, "
            "first_seen_at) values (?, 'PNG', 4, 3, 9, 1, x'00', 't')",
            (SHA256,),
        )
        old.execute(
            "insert into predictions (image_sha256, model, revision, backend, weights_sha256, "
            "probabilities, nsfw_score, frame, predicted_at) "
            "values (?, 'fake', 'r1', 'test', 'f', '{\"normal\": 1, \"nsfw\": 0}', 0, 2, 't')",
            (SHA256,),
        )
        old.execute(
            "insert into decisions (nonce, decided_at, reviewer, prediction_id, name, source, "
            "threshold, model_label, label, reasons, note, batch_id) "
            "values ('n', 't', 'ann', 1, 'a.png', 'gallery', 0.5, 'normal', 'nsfw', '[]', '', '')"
        )
        old.conn.commit()
    store = Store(path, previews_dir=tmp_path / "images", journal_mode="wal")
    stored = store.catalog.get(1)
    assert (stored.info.warnings, stored.info.incomplete) == ((), False)
    assert (stored.prediction.frame, stored.prediction.background) == (2, Background.WHITE)
    [decision] = store.log.rows(LogFilter())
    assert decision.warnings == ()
    with closing(sqlite3.connect(path)) as database, pytest.raises(sqlite3.IntegrityError):
        database.execute("update decisions set warnings = '[\"extension\"]'")


@pytest.mark.parametrize("door", ["/desk/images", "/v1/images"])
def test_every_route_lists_warnings(
    engine: Engine, store: Store, tmp_path: Path, door: str
) -> None:
    """The page's route and the API give codes and sentences, before the error."""
    with open_app(engine, store, tmp_path) as app:
        if door == "/desk/images":
            params = {"name": "a.jpg", "source": "review"}
            made = app.signed_in("ann").post(door, params=params, content=FLAWED).json()
            assert (made["incomplete"], made["ground"]) == (False, "white")
        else:
            files = {"file": ("a.jpg", FLAWED)}
            [made] = app.with_every_scope().post(door, files=files).json()["images"]
    assert [warning["code"] for warning in made["warnings"]] == ["extension", "metadata"]
    assert all(warning["message"].endswith(".") for warning in made["warnings"])
    keys = list(made)
    assert keys.index("warnings") == keys.index("error") - 1


def test_preview_on_a_background(engine: Engine, store: Store, tmp_path: Path) -> None:
    """The page requests the background of the prediction; an unknown one is refused."""
    data = FILES["webp-lossless"]
    with open_app(engine, store, tmp_path) as app:
        ann = app.signed_in("ann")
        for background, status in (("black", 200), ("white", 200), ("red", 422)):
            params = {"name": "a.webp", "frame": 0, "ground": background}
            response = ann.post("/desk/pictures", params=params, content=data)
            assert response.status_code == status


@pytest.mark.parametrize("path", ["/v1/image-classification", "/v1/moderations"])
def test_part_of_an_image_has_no_bare_score(
    engine: Engine, store: Store, tmp_path: Path, path: str
) -> None:
    """If the response has no action, an incomplete image is an error and does not read as safe."""
    url = "data:image/jpeg;base64," + base64.b64encode(dark_jpeg()).decode()
    body = {"input": [{"type": "image_url", "image_url": {"url": url}}]}
    with open_app(engine, store, tmp_path) as app:
        program = app.with_every_scope()
        asked = {"json": body} if path.endswith("moderations") else {"content": dark_jpeg()}
        response = program.post(path, **asked)
    assert (response.status_code, response.json()["error"]["kind"]) == (400, "truncated")
    assert "could be decoded" in response.json()["error"]["message"]
