"""What the tests of the store, the log and the exports put in: one image, and answers about it."""

from dataclasses import replace
from typing import Any

from nsfw_app.records import (
    Decision,
    ImageInfo,
    JudgedImage,
    Label,
    ModelIdentity,
    NewDecision,
    Prediction,
    Preview,
    Retain,
    Review,
    Upload,
)
from nsfw_app.rules.permissions import PERMISSIONS, Caller, UserRole
from nsfw_app.store import Store
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
    """An image of Ann's, to which this model gives a score of 0.9."""
    prediction = Prediction(sha256, identity, {"normal": 0.1, "nsfw": 0.9}, 0.9)
    info = ImageInfo(sha256, "PNG", 40, 30, 1_000, 1)
    upload = Upload(name, "gallery", "ann", "batch 1", retain=Retain.QUEUE)
    store.catalog.record(JudgedImage(info, prediction, Preview(b"webp")), upload)


def answer(nonce: str, label: Label = Label.NORMAL, **changes: Any) -> NewDecision:
    """An answer about the image, seen at threshold 0.5."""
    made = NewDecision(nonce, SHA256, label, 0.5, FAKE.model, FAKE.revision, FAKE.backend)
    return replace(made, **changes)


def person(name: str, *, owner: str = "", role: UserRole = UserRole.REVIEWER) -> Caller:
    """Someone of this name, whose uploads are kept under it too unless another is given."""
    return Caller(name, owner or name, PERMISSIONS[role])


def add(log: CorrectionLog, made: NewDecision, *, reviewer: str = "ann") -> Decision:
    """Record an answer about Ann's image."""
    return log.add(made, person(reviewer, owner="ann"))


def standing(
    log: CorrectionLog, identity: ModelIdentity = FAKE, *, reviewer: str
) -> Decision | None:
    """The reviewer's answer about the image that stands."""
    return log.standing(
        SHA256,
        model=identity.model,
        revision=identity.revision,
        backend=identity.backend,
        reviewer=reviewer,
    )


def answer_to(review: Review, nonce: str = "n", label: Label = Label.NORMAL) -> NewDecision:
    """A reviewer's answer about what is on the screen."""
    assert review.prediction is not None
    seen = review.prediction.identity
    return NewDecision(
        nonce, review.prediction.image_sha256, label, review.policy.threshold,
        seen.model, seen.revision, seen.backend,
    )  # fmt: skip
