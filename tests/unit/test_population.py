"""Samples of the images that arrived: what enters them, what is left out, and what is new."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from nsfw_app.evidence.population import ArrivedImages, Selection
from nsfw_app.records import (
    ImageInfo,
    JudgedImage,
    Label,
    Prediction,
    Preview,
    Retain,
    Upload,
)
from nsfw_app.rules.audit_plan import AuditPlan
from nsfw_app.rules.queue import Admission, QueueReason, QueueRules
from nsfw_app.store import Store
from nsfw_app.store.arrivals import Arrival
from tests.support.arrivals import AUDIT, REVIEW, arrive, decide
from tests.support.sample_records import FAKE, OTHER

ALL = Selection(lambda identity: identity == FAKE)
NOT_DRAWN = Admission(None, 0.1)
NEVER = Admission(None, 0.0)


@pytest.fixture
def arriving(store: Store) -> Store:
    """A store in which every rule is on."""
    store.queue.rules = QueueRules(frozenset(QueueReason), AuditPlan(0.1))
    return store


def test_drawn_images_have_their_settled_labels(arriving: Store) -> None:
    """Drawn images have labels once they are settled; chosen decisions are no labels."""
    images = ArrivedImages(arriving.arrivals)
    assert len(images.select(ALL)) == 0
    admissions = [REVIEW, REVIEW, REVIEW, AUDIT, NOT_DRAWN, NEVER]
    unsafe, safe, _, unsure, chosen, _ = (
        arrive(arriving, score, admission)
        for score, admission in zip((0.5, 0.3, 0.4, 0.1, 0.9, 0.95), admissions, strict=True)
    )
    decide(arriving, unsafe, Label.NSFW)
    decide(arriving, safe, Label.NORMAL)
    for reviewer in ("ann", "bob"):
        decide(arriving, unsure, Label.UNSURE, reviewer)
        decide(arriving, chosen, Label.NSFW, reviewer)
    found = images.select(ALL)
    sample = found.sample
    assert sample.scores.tolist() == [0.5, 0.3, 0.4, 0.1, 0.9]
    assert sample.probabilities.tolist() == [1.0, 1.0, 1.0, 0.1, 0.1]
    assert sample.labels.tolist() == [1, 0, -1, -1, -1]
    assert sample.unsettled.tolist() == [False, False, True, True, False]
    assert (len(found), found.never_drawn) == (6, 1)
    assert found.scores.tolist() == [0.5, 0.3, 0.4, 0.1, 0.9, 0.95]


def test_new_decisions_and_undos_are_followed(arriving: Store) -> None:
    """What changes after the first look is in the next one, and equals a fresh look."""
    images = ArrivedImages(arriving.arrivals)
    first = arrive(arriving, 0.6, REVIEW)
    assert images.select(ALL).sample.labels.tolist() == [-1]
    decision_id = decide(arriving, first, Label.NSFW)
    assert images.select(ALL).sample.labels.tolist() == [1]
    arriving.log.undo(decision_id, reviewer="ann", nonce="undo")
    assert images.select(ALL).sample.labels.tolist() == [-1]
    arrive(arriving, 0.7, REVIEW)
    decide(arriving, first, Label.NORMAL)
    decide(arriving, first, Label.NORMAL, "bob")
    found, fresh = images.select(ALL).sample, ArrivedImages(arriving.arrivals).select(ALL).sample
    assert found.labels.tolist() == fresh.labels.tolist() == [0, -1]
    assert np.array_equal(found.unsettled, fresh.unsettled)


def test_an_image_decided_before_it_arrives_has_its_label(arriving: Store) -> None:
    """A decision that is older than the arrival counts when the image is drawn."""
    images = ArrivedImages(arriving.arrivals)
    image = JudgedImage(
        ImageInfo("c" * 64, "PNG", 4, 3, 99, 1),
        Prediction("c" * 64, FAKE, {"normal": 0.4, "nsfw": 0.6}, 0.6),
        Preview(b"webp"),
    )
    upload = Upload("c.png", "gallery", "local", retain=Retain.PREVIEW)
    stored = arriving.catalog.record(image, upload, jpeg=b"jpeg")
    decide(arriving, "c" * 64, Label.NSFW)
    assert len(images.select(ALL)) == 0
    arriving.catalog.record(stored, upload, arrival=Arrival(REVIEW, "api"))
    decide(arriving, "c" * 64, Label.NSFW, "bob")
    assert images.select(ALL).sample.labels.tolist() == [1]


def test_a_selection_is_of_one_model_source_and_period(arriving: Store) -> None:
    """Other models, sources and times are left out."""
    images = ArrivedImages(arriving.arrivals)
    arrive(arriving, 0.5, REVIEW, source="api")
    arrive(arriving, 0.6, REVIEW, source="gallery")
    arrive(arriving, 0.7, REVIEW, identity=OTHER)
    assert images.select(ALL).scores.tolist() == [0.5, 0.6]
    assert images.sources() == ["api", "gallery"]
    assert images.models() == [FAKE, OTHER]
    of_api = Selection(ALL.counts, source="api")
    assert images.select(of_api).scores.tolist() == [0.5]
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    assert len(images.select(Selection(ALL.counts, since=tomorrow))) == 0
    assert len(images.select(Selection(ALL.counts, until=tomorrow))) == 2
