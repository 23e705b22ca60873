"""Fills a store with images of known truth that arrive, and with a scripted reviewer's decisions.

Scores are those of `streams`; every image is unsafe or not, and the reviewer always finds out.
"""

import secrets
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nsfw_app.records import (
    ImageInfo,
    JudgedImage,
    Label,
    ModelIdentity,
    NewDecision,
    Prediction,
    Preview,
    Retain,
    Upload,
)
from nsfw_app.rules.audit_plan import AuditPlan
from nsfw_app.rules.queue import Admission, QueueReason, QueueRules
from nsfw_app.store import Store
from nsfw_app.store.arrivals import Arrival
from tests.support.sample_records import person
from tests.support.streams import SAFE_SCORES, UNSAFE_SCORES

AUDIT_RATE = 0.3
PREVALENCE = 0.2
BAND = (0.2, 0.8)
RULES = (QueueReason.REVIEW, QueueReason.AUDIT)
SETTINGS = {"NSFW_QUEUE_RULES": ",".join(RULES), "NSFW_AUDIT_RATE": str(AUDIT_RATE)}
BATCH = 200  # decisions in a transaction


@dataclass(frozen=True)
class Truth:
    """Images by hash: whether each is unsafe, and whether it was drawn for review."""

    hashes: list[str]
    scores: NDArray[np.float64]
    unsafe: NDArray[np.bool_]
    drawn: NDArray[np.bool_]


def generate(rng: np.random.Generator, images: int, *, shift: float = 1.0) -> Truth:
    """Scores with their truth; scores to the power of `shift` are those of a drifted model."""
    unsafe = rng.random(images) < PREVALENCE
    scores = np.where(unsafe, rng.beta(*UNSAFE_SCORES, images), rng.beta(*SAFE_SCORES, images))
    scores = scores**shift
    band = (scores >= BAND[0]) & (scores < BAND[1])
    drawn = band | (rng.random(images) < AUDIT_RATE)
    return Truth([secrets.token_hex(32) for _ in range(images)], scores, unsafe, drawn)


def arrive(store: Store, truth: Truth, identity: ModelIdentity, *, source: str = "api") -> None:
    """Record the images as if they had been uploaded by a program; one decision settles each."""
    store.queue.rules = QueueRules(frozenset(RULES), AuditPlan(AUDIT_RATE))
    store.catalog._connections.db.execute("pragma synchronous = off")  # three times as fast
    for number, (sha256, score, drawn) in enumerate(
        zip(truth.hashes, truth.scores, truth.drawn, strict=True)
    ):
        band = BAND[0] <= score < BAND[1]
        reason = QueueReason.REVIEW if band else QueueReason.AUDIT
        admission = Admission(reason if drawn else None, 1.0 if band else AUDIT_RATE)
        prediction = Prediction(
            sha256, identity, {"normal": 1 - score, "nsfw": float(score)}, float(score)
        )
        image = JudgedImage(ImageInfo(sha256, "PNG", 4, 3, 99, 1), prediction, Preview(b"webp"))
        upload = Upload(f"{number}.png", source, "local", retain=Retain.QUEUE)
        kept = b"jpeg" if drawn else None  # only what has a preview can be decided
        store.catalog.record(image, upload, jpeg=kept, arrival=Arrival(admission, source))


def review(store: Store, truth: Truth, identity: ModelIdentity, *, reviewer: str = "bob") -> None:
    """Decide each drawn image as it is."""
    decisions = [
        NewDecision(
            sha256,  # a nonce
            sha256,
            Label.NSFW if unsafe else Label.NORMAL,
            0.5,
            identity.model,
            identity.revision,
            identity.backend,
        )
        for sha256, unsafe, drawn in zip(truth.hashes, truth.unsafe, truth.drawn, strict=True)
        if drawn
    ]
    for start in range(0, len(decisions), BATCH):
        store.log.add_all(decisions[start : start + BATCH], person(reviewer, owner="local"))
