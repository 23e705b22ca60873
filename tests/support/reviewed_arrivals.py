"""A store with images that arrived, were drawn and reviewed, with known scores and labels."""

import numpy as np

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
from tests.support.sample_records import FAKE, person

BAND = (0.2, 0.8)
AUDITS = 0.5  # the rate outside the band


def add_reviewed(
    store: Store, images: int = 150, *, identity: ModelIdentity = FAKE, source: str = "api"
) -> None:
    """Add images of which the band and half of the others are drawn, and reviewed by ann and bob.

    An image is unsafe with the probability of its squared score, so that scores are too high.
    """
    store.queue.rules = QueueRules(frozenset(QueueReason), AuditPlan(AUDITS))
    rng = np.random.default_rng(images)
    for number, score in enumerate(rng.random(images).tolist()):
        sha256 = f"{identity.model[:4].encode().hex():0>16}{number:048x}"
        probability = 1.0 if BAND[0] <= score < BAND[1] else AUDITS
        reason = QueueReason.REVIEW if probability == 1 else QueueReason.AUDIT
        drawn = rng.random() < probability
        store.catalog.record(
            JudgedImage(
                ImageInfo(sha256, "PNG", 4, 3, 99, 1),
                Prediction(sha256, identity, {"normal": 1 - score, "nsfw": score}, score),
                Preview(b"webp"),
            ),
            Upload(f"{number}.png", source, "local", retain=Retain.QUEUE),
            jpeg=b"jpeg",
            arrival=Arrival(Admission(reason if drawn else None, probability), source),
        )
        if drawn:
            label = Label.NSFW if rng.random() < score**2 else Label.NORMAL
            model = identity.model, identity.revision, identity.backend
            for name in ("ann", "bob"):  # a disagreement is settled by two
                made = NewDecision(f"{sha256[:16]} {number} {name}", sha256, label, 0.5, *model)
                store.log.add(made, person(name, owner="local"))
