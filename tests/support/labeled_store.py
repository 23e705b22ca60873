"""A store with images that reviewers decided about, whose previews can be decoded."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from nsfw_app.imaging.previews import perceptual_hash
from nsfw_app.records import (
    ImageInfo,
    JudgedImage,
    Label,
    ModelIdentity,
    Prediction,
    Preview,
    Retain,
    Upload,
)
from nsfw_app.rules.decisions import DecisionRules
from nsfw_app.store import Store
from nsfw_app.store.arrivals import Arrival
from tests.support.image_files import encoded
from tests.support.sample_records import FAKE, answer, person

REVIEWERS = ("ann", "ben")


def open_labeled_store(directory: Path) -> Store:
    """The store of a data directory, in which labels may be confirmed without a look first."""
    return Store(
        directory / "review.db",
        previews_dir=directory / "images",
        journal_mode="wal",
        decision_rules=DecisionRules(frozenset()),
    )


def pattern(seed: int) -> Image.Image:
    """An image of 8 by 8 random tiles; no two are near duplicates."""
    tiles = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return Image.fromarray(tiles).resize((64, 64), Image.Resampling.NEAREST)


def add_labeled(
    store: Store,
    image: Image.Image,
    label: Label | None,
    *,
    confirmed: Label | None = None,
    identity: ModelIdentity = FAKE,
    reviewers: Sequence[str] = REVIEWERS,
    name: str = "photo.png",
    arrival: Arrival | None = None,
    threshold: float = 0.5,
) -> str:
    """Add an image that the model scores 0.9, and decisions of all reviewers; return its hash.

    A label is confirmed only against the model: where reviewers settled on normal at a threshold
    below the score.
    """
    jpeg = encoded(image, "JPEG", quality=95)
    sha256 = hashlib.sha256(jpeg).hexdigest()
    info = ImageInfo(sha256, "JPEG", *image.size, len(jpeg), 1)
    prediction = Prediction(sha256, identity, {"normal": 0.1, "nsfw": 0.9}, 0.9)
    upload = Upload(name, "gallery", "ann", "batch 1", retain=Retain.QUEUE)
    judged = JudgedImage(info, prediction, Preview(b"webp", perceptual_hash(image)))
    store.catalog.record(judged, upload, jpeg=jpeg, arrival=arrival)
    for reviewer in reviewers if label else ():
        assert label is not None
        nonce = f"{reviewer} {sha256[:16]} {label} {identity.model}"
        made = answer(nonce, label, image_sha256=sha256, threshold=threshold)
        made = replace(
            made, model=identity.model, revision=identity.revision, backend=identity.backend
        )
        store.log.add(made, person(reviewer, owner="ann"))
    if confirmed:
        (found,) = (
            each.prediction_id
            for each in store.training.misclassifications(limit=100_000)
            if each.image_sha256 == sha256 and each.model == identity.model
        )
        store.training.decide(found, confirmed, reviewer="ann")
    return sha256


def fill_labeled(store: Store, count: int, *, seed: int = 0) -> None:
    """As many corrections, settled normal images and settled nsfw images, all different."""
    for number in range(count):
        at = seed + 10 * number
        add_labeled(store, pattern(at), Label.NORMAL, confirmed=Label.NORMAL)
        add_labeled(store, pattern(at + 1), Label.NORMAL)
        add_labeled(store, pattern(at + 2), Label.NSFW)
