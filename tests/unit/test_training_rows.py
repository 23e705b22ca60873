"""Rows of a training set: which images, with which label, in which group and split."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from nsfw_app.datasets.training_rows import Labels, Omission, TrainingRows, read_rows
from nsfw_app.datasets.training_set import LabelSource, Split
from nsfw_app.imaging.previews import are_near_duplicates, perceptual_hash
from nsfw_app.records import Label, Reason
from nsfw_app.store import Store
from nsfw_app.store.image_labels import Votes
from tests.support.labeled_store import add_labeled, fill_labeled, open_labeled_store, pattern
from tests.support.sample_records import FAKE, OTHER, answer, person


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store in which labels may be confirmed without a look."""
    return open_labeled_store(tmp_path)


def everything(store: Store, *, test_share: float = 0.2) -> TrainingRows:
    """Corrections and settled decisions."""
    return read_rows(store, labels=Labels.ALL, test_share=test_share)


def test_corrections_are_the_labels_unless_more_are_asked_for(store: Store) -> None:
    """Settled decisions come on request; a confirmed label comes before the settled one."""
    corrected = add_labeled(store, pattern(1), Label.NORMAL, confirmed=Label.NSFW)
    settled = add_labeled(store, pattern(2), Label.NSFW)
    add_labeled(store, pattern(3), None)
    (row,) = read_rows(store).rows
    assert (row.sha256, row.label, row.label_source) == (
        corrected,
        Label.NSFW,
        LabelSource.CORRECTION,
    )
    assert row.image.votes == Votes(2, 0, 0)
    found = {each.sha256: (each.label, each.label_source) for each in everything(store).rows}
    assert found == {
        corrected: (Label.NSFW, LabelSource.CORRECTION),
        settled: (Label.NSFW, LabelSource.DECISION),
    }


def test_weights_count_labeled_images_that_are_not_written(store: Store) -> None:
    """Of three agreements, two without a preview, one represents all; errors represent themselves.

    Without settled decisions, the one correction represents a further error.
    """
    agreed = [add_labeled(store, pattern(seed), Label.NSFW) for seed in range(3)]
    for sha256 in agreed[1:]:
        store.previews.remove(sha256)
    corrected = add_labeled(store, pattern(3), Label.NORMAL, confirmed=Label.NORMAL)
    error = add_labeled(store, pattern(4), Label.NORMAL)
    found = {row.sha256: row.weight for row in everything(store).rows}
    assert found == {agreed[0]: 3, corrected: 1, error: 1}
    (row,) = read_rows(store).rows
    assert (row.sha256, row.weight) == (corrected, 2)


def test_the_stratum_is_that_of_the_decision(store: Store) -> None:
    """Scored 0.9, an image labeled normal agreed with a model that had the threshold 0.95 then."""
    error = add_labeled(store, pattern(1), Label.NORMAL, confirmed=Label.NORMAL)
    agreed = [add_labeled(store, pattern(at), Label.NORMAL, threshold=0.95) for at in (2, 3, 4)]
    for image in agreed[1:]:
        store.previews.remove(image)
    assert {row.sha256: row.weight for row in everything(store).rows} == {error: 1, agreed[0]: 3}
    assert {row.sha256: row.weight for row in read_rows(store).rows} == {error: 1}


@pytest.mark.parametrize("change", ["later model", "corrected to the model's label"])
def test_a_correction_keeps_its_stratum(change: str, store: Store) -> None:
    """It represents errors, also if a later model or its corrected label agrees."""
    label = Label.NSFW if change == "corrected to the model's label" else Label.NORMAL
    corrected = add_labeled(store, pattern(1), Label.NORMAL, confirmed=label)
    add_labeled(store, pattern(2), Label.NORMAL)
    for seed in range(3, 8):
        add_labeled(store, pattern(seed), Label.NSFW)
        add_labeled(store, pattern(seed + 5), Label.NORMAL, threshold=0.95)
    if change == "later model":
        add_labeled(store, pattern(1), Label.NORMAL, identity=OTHER, threshold=0.95)
    (row,) = read_rows(store).rows
    assert (row.sha256, row.label, row.weight) == (corrected, label, 2)


def test_restricted_images_and_their_copies_are_never_rows(store: Store) -> None:
    """An image with a minor is left out, with every near duplicate, also after an undo."""
    add_labeled(store, pattern(1), Label.NSFW)
    minor = add_labeled(store, pattern(2), Label.NSFW)
    add_labeled(store, pattern(2).resize((60, 60)), Label.NSFW)
    reasons = (Reason.MINOR_PRESENT,)
    made = answer("minor", Label.NSFW, image_sha256=minor, reasons=reasons)
    decision = store.log.add(made, person("cid", owner="ann"))
    store.log.undo(decision.decision_id, reviewer="cid", nonce="undo")
    found = everything(store)
    assert len(found.rows) == 1
    assert found.omitted == {Omission.RESTRICTED: 1, Omission.NEAR_RESTRICTED: 1}


def test_restricted_images_are_counted_where_they_had_been_rows(store: Store) -> None:
    """Those without a label never, those with a settled one if settled decisions are rows."""
    images = [
        add_labeled(store, pattern(1), Label.NORMAL, confirmed=Label.NORMAL),
        add_labeled(store, pattern(2), Label.NSFW),
        add_labeled(store, pattern(3), Label.NSFW),
        add_labeled(store, pattern(4), Label.UNSURE),
    ]
    for number, image in enumerate(images):
        label = Label.NORMAL if number == 0 else Label.NSFW
        made = answer(f"{number}", label, image_sha256=image, reasons=(Reason.MINOR_PRESENT,))
        store.log.add(made, person("cid", owner="ann"))
    assert len(store.restrictions.all()) == 4
    assert read_rows(store).omitted == {Omission.RESTRICTED: 1}
    assert everything(store).omitted == {Omission.RESTRICTED: 3}


def grown(side: int) -> Image.Image:
    """An image with a gray square: those of sides that differ little are near duplicates."""
    image = pattern(1)
    ImageDraw.Draw(image).rectangle((0, 0, side, side), fill=(128, 128, 128))
    return image


@pytest.mark.parametrize(
    "between",
    ["labeled", "unlabeled", "without preview", "set aside", "differing", "unsettled"],
)
def test_chains_lead_through_all_stored_images(between: str, store: Store) -> None:
    """A chain to an image with a minor leads through images that are no rows themselves."""
    sides = (16, 20, 24, 32)
    hashes = [perceptual_hash(grown(side)) for side in sides]
    near = [are_near_duplicates(one, other) for one, other in pairwise(hashes)]
    assert near == [True, True, True]
    assert [are_near_duplicates(hashes[0], other) for other in hashes[1:]] == [True, False, False]
    label = {"unlabeled": None, "unsettled": Label.UNSURE, "set aside": Label.NORMAL}
    images = [
        add_labeled(store, grown(side), label.get(between, Label.NSFW)) for side in sides[1:3]
    ]
    for image in images:
        if between == "without preview":
            store.previews.remove(image)
        if between == "set aside":
            set_aside(store, image)
    if between == "differing":
        for side in sides[1:3]:
            add_labeled(store, grown(side), Label.NORMAL, identity=OTHER)
    add_labeled(store, grown(sides[0]), Label.NSFW)
    alone = add_labeled(store, pattern(8), Label.NSFW)
    marked = add_labeled(store, grown(sides[-1]), Label.NSFW)
    reasons = (Reason.MINOR_PRESENT,)
    made = answer("minor", Label.NSFW, image_sha256=marked, reasons=reasons)
    store.log.add(made, person("cid", owner="ann"))
    assert [row.sha256 for row in everything(store).rows] == [alone]


def set_aside(store: Store, image: str) -> None:
    """Set the misclassifications of an image aside."""
    for each in store.training.misclassifications(limit=100):
        if each.image_sha256 == image:
            store.training.decide(each.prediction_id, None, reviewer="ann")


def test_what_is_left_out_is_counted(store: Store) -> None:
    """Images that are unsettled, set aside, labeled differently or without a preview."""
    add_labeled(store, pattern(1), Label.UNSURE)
    add_labeled(store, pattern(2), Label.NORMAL)
    purged = add_labeled(store, pattern(3), Label.NSFW)
    store.previews.remove(purged)
    add_labeled(store, pattern(4), Label.NORMAL)
    add_labeled(store, pattern(4), Label.NSFW, identity=OTHER)
    for model, label in ((FAKE, Label.NSFW), (OTHER, Label.NORMAL)):
        add_labeled(store, pattern(5), Label.NORMAL, confirmed=label, identity=model)
    aside = add_labeled(store, pattern(6), Label.NORMAL)
    set_aside(store, aside)
    assert everything(store).omitted == {
        Omission.SET_ASIDE: 1,
        Omission.DIFFERING: 2,
        Omission.UNSETTLED: 1,
        Omission.NO_PREVIEW: 1,
    }


def test_an_image_that_was_set_aside_for_one_model_is_left_out(store: Store) -> None:
    """Also where its label was confirmed for another model."""
    image = add_labeled(store, pattern(1), Label.NORMAL, confirmed=Label.NORMAL)
    add_labeled(store, pattern(1), Label.NORMAL, identity=OTHER)
    (found,) = (
        each.prediction_id
        for each in store.training.misclassifications(limit=10)
        if (each.image_sha256, each.model) == (image, OTHER.model)
    )
    store.training.decide(found, None, reviewer="ann")
    for labels in Labels:
        rows = read_rows(store, labels=labels)
        assert (rows.rows, rows.omitted) == ([], {Omission.SET_ASIDE: 1})
    store.training.decide(found, Label.NORMAL, reviewer="ann")
    assert [row.sha256 for row in everything(store).rows] == [image]


def test_blind_decisions_are_rows(store: Store) -> None:
    """An image that waits for reviewers elsewhere keeps the label of its settled prediction."""
    add_labeled(store, pattern(1), Label.NSFW)
    add_labeled(store, pattern(1), Label.NORMAL, identity=OTHER, reviewers=["ann"])
    (row,) = everything(store).rows
    assert row.label is Label.NSFW


def test_near_duplicates_share_group_and_split(store: Store) -> None:
    """Copies are in one group, which is in one split; others are alone."""
    for seed in range(12):
        for side in (64, 60, 56):
            image = pattern(seed).resize((side, side))
            add_labeled(store, image, Label.NSFW if seed % 2 else Label.NORMAL)
    rows = everything(store, test_share=0.3).rows
    assert sorted(Counter(row.group for row in rows).values()) == [3] * 12
    assert len({(row.group, row.split) for row in rows}) == 12
    tested = Counter(row.label for row in rows if row.split is Split.TEST)
    assert tested == {Label.NORMAL: 6, Label.NSFW: 6}


def test_splits_are_stratified(store: Store) -> None:
    """Each label of each source has its share in the test split, as nearly as groups allow."""
    fill_labeled(store, 10)
    found = everything(store)
    counted = Counter((row.label, row.label_source) for row in found.of(Split.TEST))
    assert counted == {
        (Label.NORMAL, LabelSource.CORRECTION): 2,
        (Label.NORMAL, LabelSource.DECISION): 2,
        (Label.NSFW, LabelSource.DECISION): 2,
    }
    assert len(found.of(Split.TRAIN)) == 24


def test_splits_are_deterministic(store: Store) -> None:
    """The same labels give the same rows; some more move few images between splits."""
    fill_labeled(store, 10)
    first = everything(store).rows
    assert first == everything(store).rows
    fill_labeled(store, 2, seed=5_000)
    now = {row.sha256: row.split for row in everything(store).rows}
    moved = [row for row in first if now[row.sha256] is not row.split]
    assert len(moved) <= 3


def test_an_empty_store_has_no_rows(store: Store) -> None:
    """Without labels there is nothing, and nothing fails."""
    assert everything(store) == replace(everything(store), rows=[], omitted={})


def test_rows_say_whether_the_label_agreed_with_the_model(store: Store) -> None:
    """With the model that reviewers decided about: settled agreements do, corrections do not."""
    agreement = add_labeled(store, pattern(1), Label.NSFW)
    against = add_labeled(store, pattern(2), Label.NORMAL)
    corrected = add_labeled(store, pattern(3), Label.NORMAL, confirmed=Label.NORMAL)
    found = {row.sha256: row.agreed for row in everything(store).rows}
    assert found == {agreement: True, against: False, corrected: False}
