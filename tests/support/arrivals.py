"""Images that arrive in a store with a draw probability, and the decisions about those drawn.

One image; a set that two reviewers decided; a stream of known truth, whose scripted reviewer always
finds out whether an image is unsafe.
"""

import secrets
from dataclasses import dataclass
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from nsfw_app.decision import NewDecision
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
from nsfw_app.rules.audit_plan import AuditPlan
from nsfw_app.rules.queue import Admission, QueueReason, QueueRules
from nsfw_app.store import Store
from nsfw_app.store.arrivals import Arrival
from tests.support.sample_records import FAKE, person
from tests.support.streams import SAFE_SCORES, UNSAFE_SCORES

BAND = (0.2, 0.8)
REVIEW = Admission(QueueReason.REVIEW, 1.0)
AUDIT = Admission(QueueReason.AUDIT, 0.1)
AUDITS_REVIEWED = 0.5  # the rate outside the band of `add_reviewed`
AUDIT_RATE = 0.3  # of streams
PREVALENCE = 0.2
RULES = (QueueReason.REVIEW, QueueReason.AUDIT)
SETTINGS = {"NSFW_QUEUE_RULES": ",".join(RULES), "NSFW_AUDIT_RATE": str(AUDIT_RATE)}
BATCH = 200  # decisions in a transaction


def arrive(
    store: Store,
    score: float,
    admission: Admission,
    *,
    source: str = "api",
    identity: ModelIdentity = FAKE,
    sha256: str | None = None,
) -> str:
    """Add an image that arrives; its hash, by default its number."""
    if sha256 is None:
        sha256 = f"{store.log._connections.row('select count(*) as n from images')['n']:064x}"
    image = JudgedImage(
        ImageInfo(sha256, "PNG", 4, 3, 99, 1),
        Prediction(sha256, identity, {"normal": 1 - score, "nsfw": score}, score),
        Preview(b"webp"),
    )
    upload = Upload(f"{sha256[-8:]}.png", source, "local", retain=Retain.QUEUE)
    store.catalog.record(image, upload, jpeg=b"jpeg", arrival=Arrival(admission, source))
    return sha256


def decide(
    store: Store,
    sha256: str,
    label: Label,
    reviewer: str = "ann",
    *,
    identity: ModelIdentity = FAKE,
) -> int:
    """Record a decision; its id."""
    made = _decision(sha256, label, identity)
    return store.log.add(made, person(reviewer, owner="local")).decision_id


def admission_of(score: float, audit_rate: float, *, drawn: bool) -> Admission:
    """How the rules admit a score: the band whole, others with the audit rate."""
    band = BAND[0] <= score < BAND[1]
    reason = QueueReason.REVIEW if band else QueueReason.AUDIT
    return Admission(reason if drawn else None, 1.0 if band else audit_rate)


def add_reviewed(
    store: Store, images: int = 150, *, identity: ModelIdentity = FAKE, source: str = "api"
) -> None:
    """Add images of which the band and half of the others are drawn, and reviewed by ann and bob.

    An image is unsafe with the probability of its squared score, so that scores are too high.
    """
    store.queue.rules = QueueRules(frozenset(QueueReason), AuditPlan(AUDITS_REVIEWED))
    rng = np.random.default_rng(images)
    for score in rng.random(images).tolist():
        rate = admission_of(score, AUDITS_REVIEWED, drawn=False).probability
        drawn = rng.random() < rate
        admission = admission_of(score, AUDITS_REVIEWED, drawn=drawn)
        sha256 = arrive(store, score, admission, source=source, identity=identity)
        if drawn:
            label = Label.NSFW if rng.random() < score**2 else Label.NORMAL
            for name in ("ann", "bob"):  # a disagreement is settled by two
                decide(store, sha256, label, name, identity=identity)


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


def arrive_all(store: Store, truth: Truth, identity: ModelIdentity) -> None:
    """Record the images as if they had been uploaded by a program; one decision settles each.

    Without flushing each to disk, which takes most of the time.
    """
    store.queue.rules = QueueRules(frozenset(RULES), AuditPlan(AUDIT_RATE))
    store.catalog._connections.db.execute("pragma synchronous = off")
    rows = zip(truth.hashes, truth.scores.tolist(), truth.drawn.tolist(), strict=True)
    with patch("os.fsync"):
        for sha256, score, drawn in rows:
            admission = admission_of(score, AUDIT_RATE, drawn=drawn)
            arrive(store, score, admission, identity=identity, sha256=sha256)


def review_drawn(store: Store, truth: Truth, identity: ModelIdentity) -> None:
    """Bob decides each drawn image as it is."""
    decisions = [
        _decision(sha256, Label.NSFW if unsafe else Label.NORMAL, identity)
        for sha256, unsafe, drawn in zip(truth.hashes, truth.unsafe, truth.drawn, strict=True)
        if drawn
    ]
    for start in range(0, len(decisions), BATCH):
        store.log.add_all(decisions[start : start + BATCH], person("bob", owner="local"))


def _decision(sha256: str, label: Label, identity: ModelIdentity) -> NewDecision:
    model = identity.model, identity.revision, identity.backend
    return NewDecision(secrets.token_hex(16), sha256, label, 0.5, *model)
