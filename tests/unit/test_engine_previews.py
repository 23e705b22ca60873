"""Previews: visible to permitted callers only, and without metadata of the upload."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from nsfw_app.errors import NotFound
from nsfw_app.records import Label, LogFilter, Retain, Upload
from nsfw_app.review.engine import Engine
from nsfw_app.rules.permissions import Caller, UserRole
from tests.support.fakes import image_bytes
from tests.support.image_files import camera_exif, encoded
from tests.support.sample_records import answer_to, person

COMMAND = Upload("a.png", "command")
BY_ANN = Upload("a.png", "gallery", "ann", "batch 1", retain=Retain.QUEUE)
SECRET = "where I live"
ANN, BOB = person("ann"), person("bob")


def test_images_are_their_owners(engine: Engine) -> None:
    """A caller without an upload of an image can neither see it nor decide on it."""
    blocked = image_bytes(250)
    review = engine.review(blocked, BY_ANN)
    sha256 = review.sha256 or ""
    calls: list[Callable[[Caller], object]] = [
        lambda caller: engine.preview_jpeg(sha256, caller),
        lambda caller: engine.thumbnail_jpeg(sha256, caller),
        lambda caller: engine.decide(answer_to(review, caller.name, Label.NSFW), caller),
    ]
    for call in calls:
        with pytest.raises(NotFound):
            call(BOB)
    assert engine.log.size(LogFilter()) == 0
    engine.review(blocked, replace(BY_ANN, owner="bob"))
    assert [bool(call(caller)) for call in calls for caller in (ANN, BOB)] == [True] * 6


def test_reviewers_see_images_in_the_queue(engine: Engine) -> None:
    """Reviewers see a waiting image and viewers do not; a settled one only who decided on it."""
    review = engine.review(image_bytes(200), BY_ANN)  # inside the review band
    sha256 = review.sha256 or ""
    assert engine.preview_jpeg(sha256, BOB)
    with pytest.raises(NotFound):
        engine.preview_jpeg(sha256, person("vera", role=UserRole.VIEWER))
    engine.decide(answer_to(review, label=Label.NSFW), BOB)
    assert engine.queue.waiting("cy") == 0
    assert engine.preview_jpeg(sha256, BOB)
    with pytest.raises(NotFound):
        engine.preview_jpeg(sha256, person("cy"))


def test_disagreements_are_shown_to_reviewers(engine: Engine) -> None:
    """All reviewers see an image with a decision against the model, to relabel it."""
    review = engine.review(image_bytes(250), BY_ANN)
    engine.decide(answer_to(review), ANN)
    assert engine.preview_jpeg(review.sha256 or "", BOB)


def test_an_admin_sees_every_image(engine: Engine) -> None:
    """The permission to manage shows the images of every owner."""
    sha256 = engine.review(image_bytes(250), BY_ANN).sha256 or ""
    assert engine.preview_jpeg(sha256, person("root", role=UserRole.ADMIN))


def test_a_preview_has_no_metadata(engine: Engine) -> None:
    """A preview is an upright JPEG without metadata of the upload, and so is its thumbnail."""
    photo = Image.new("RGB", (2_000, 1_000), (200, 0, 0))
    exif = camera_exif(6, secret=SECRET)
    data = encoded(photo, "JPEG", exif=exif, comment=SECRET.encode(), icc_profile=b"icc " * 40)
    assert data.count(SECRET.encode()) > 1
    sha256 = (
        engine.review(data, Upload("a.jpg", "gallery", "ann", retain=Retain.QUEUE)).sha256 or ""
    )
    kept = engine.preview_jpeg(sha256, ANN), engine.thumbnail_jpeg(sha256, ANN)
    for file, size in zip(kept, [(800, 1_600), (160, 320)], strict=True):
        with Image.open(io.BytesIO(file)) as image:
            assert (image.format, image.size, dict(image.getexif())) == ("JPEG", size, {})
            assert not {"exif", "comment", "icc_profile", "xmp"} & set(image.info)
    assert SECRET.encode() not in b"".join([*kept, engine.preview(sha256).placeholder])


def test_without_an_owner_no_preview_is_kept(engine: Engine, tmp_path: Path) -> None:
    """Of an image that a command classified only facts and prediction are kept."""
    sha256 = engine.review(image_bytes(200), COMMAND).sha256 or ""
    assert [path for path in (tmp_path / "images").rglob("*") if path.is_file()] == []
    with pytest.raises(NotFound):
        engine.preview_jpeg(sha256, ANN)


def test_a_known_image_gets_its_preview_when_it_is_uploaded(engine: Engine) -> None:
    """An image that a command classified first has a preview after an upload."""
    engine.review(image_bytes(200), COMMAND)
    sha256 = engine.review(image_bytes(200), BY_ANN).sha256 or ""
    with Image.open(io.BytesIO(engine.preview_jpeg(sha256, ANN))) as kept:
        assert kept.size == (40, 30)
