"""Sample rows: one image with a prediction, and decisions about it."""

from dataclasses import replace
from typing import Any

from nsfw_app.decision import Decision, NewDecision
from nsfw_app.records import (
    ImageInfo,
    JudgedImage,
    Label,
    ModelIdentity,
    Prediction,
    Preview,
    Retain,
    Review,
    Upload,
)
from nsfw_app.rules.permissions import PERMISSIONS, Caller, UserRole
from nsfw_app.rules.queue import Admission, QueueReason
from nsfw_app.store import Store
from nsfw_app.store.arrivals import Arrival
from nsfw_app.store.log import CorrectionLog

SHA256 = "a" * 64
FAKE = ModelIdentity("fake", "r1", "f" * 64, "test")
OTHER = replace(FAKE, model="other")
HOSTILE = [
    "'; drop table decisions; --",
    'she said "no", \\%_',
    "nul \0 inside",
    "two\r\nlines",
    "ﷺ \U0001f642 \u202e turned",
    "n" * 4_000,
]


def add_image(
    store: Store, *, sha256: str = SHA256, identity: ModelIdentity = FAKE, name: str = "a.png"
) -> None:
    """Add an image of Ann's with a score of 0.9 by this model."""
    prediction = Prediction(sha256, identity, {"normal": 0.1, "nsfw": 0.9}, 0.9)
    info = ImageInfo(sha256, "PNG", 40, 30, 1_000, 1)
    upload = Upload(name, "gallery", "ann", "batch 1", retain=Retain.QUEUE)
    store.catalog.record(JudgedImage(info, prediction, Preview(b"webp")), upload, jpeg=b"jpeg")


def admitted(reason: QueueReason, probability: float = 1.0) -> Arrival:
    """An arrival that enters the queue."""
    return Arrival(Admission(reason, probability), "test")


def answer(nonce: str, label: Label = Label.NORMAL, **changes: Any) -> NewDecision:
    """A new decision about the image, made at threshold 0.5."""
    made = NewDecision(nonce, SHA256, label, 0.5, FAKE.model, FAKE.revision, FAKE.backend)
    return replace(made, **changes)


def person(name: str, *, owner: str = "", role: UserRole = UserRole.REVIEWER) -> Caller:
    """A caller of this name, who owns uploads under it unless another owner is given."""
    return Caller(name, owner or name, PERMISSIONS[role])


def add(log: CorrectionLog, made: NewDecision, *, reviewer: str = "ann") -> Decision:
    """Record a decision about Ann's image."""
    return log.add(made, person(reviewer, owner="ann"))


def standing(
    log: CorrectionLog, identity: ModelIdentity = FAKE, *, reviewer: str
) -> Decision | None:
    """The reviewer's standing decision about the image."""
    return log.standing(
        SHA256,
        model=identity.model,
        revision=identity.revision,
        backend=identity.backend,
        reviewer=reviewer,
    )


def answer_to(review: Review, nonce: str = "n", label: Label = Label.NORMAL) -> NewDecision:
    """A new decision about a reviewed image."""
    assert review.prediction is not None
    seen = review.prediction.identity
    return NewDecision(
        nonce, review.prediction.image_sha256, label, review.policy.threshold,
        seen.model, seen.revision, seen.backend,
    )  # fmt: skip
