"""Settled categories: in the status of a submission, in its messages, and in training sets."""

import json
from pathlib import Path

import pytest

from nsfw_app.accounts import Accounts
from nsfw_app.datasets.dataset_card import Provenance, dataset_card
from nsfw_app.datasets.image_folder import metadata
from nsfw_app.datasets.training_rows import Labels, read_rows
from nsfw_app.decision import NewDecision
from nsfw_app.records import Category, Label, Retain, Upload
from nsfw_app.review.exports import training_jsonl
from nsfw_app.rules.permissions import Permission
from nsfw_app.rules.queue import Admission, QueueReason, QueueRules
from nsfw_app.rules.retention import Retention
from nsfw_app.store import Store
from nsfw_app.store.settled_categories import settled_categories
from tests.support.labeled_store import add_labeled, open_labeled_store, pattern
from tests.support.sample_records import FAKE, SHA256, add, add_image, answer, person

GORE, NUDITY, DRAWING = Category.GORE_OR_VIOLENCE, Category.NUDITY, Category.DRAWING


def named(
    store: Store, reviewer: str, sha256: str, *chosen: Category, threshold: float = 0.5
) -> None:
    """Let a reviewer call an image unsafe, and name categories."""
    nonce = f"{reviewer} {sha256[:20]}"
    made = answer(nonce, Label.NSFW, image_sha256=sha256, categories=chosen, threshold=threshold)
    store.log.add(made, person(reviewer, owner="ann"))


@pytest.mark.parametrize(
    ("lists", "settled"),
    [
        ([], None),
        ([[]], ()),
        ([["nudity"]], (NUDITY,)),
        ([["nudity"], []], ()),
        ([["nudity", "gore_or_violence"], ["gore_or_violence"], []], (GORE,)),
    ],
)
def test_more_than_half_of_the_reviewers_settle_a_category(
    lists: list[list[str]], settled: tuple[Category, ...] | None
) -> None:
    """A half is not enough; that no reviewer was asked is not that none named one."""
    assert settled_categories(lists) == settled


def test_a_submission_and_its_message_have_them(store: Store) -> None:
    """They are those at the moment of settling; a reviewer who was not asked does not count."""
    store.queue.rules = QueueRules(frozenset(QueueReason))
    add_image(store)
    made = Accounts(store).add_key(
        "app", [Permission.QUEUE], per_minute=9, webhook_url="http://h.test/", actor="test"
    )
    upload = Upload("a.png", "api", "key:app", retain=Retain.SUBMISSION, key_name="app")
    image = store.catalog.find(SHA256, FAKE)
    assert made.key
    assert image is not None
    admission = Admission(QueueReason.REVIEW, 1.0)
    submitted = store.catalog.record(image, upload, admission=admission)
    assert store.submissions.get(submitted.submission_id).categories is None
    add(store.log, answer("1", Label.NSFW, categories=(GORE, NUDITY)))
    add(store.log, answer("2", Label.NSFW), reviewer="bob")
    found = store.submissions.get(submitted.submission_id)
    assert (found.label, found.categories) == (Label.NSFW, (NUDITY, GORE))
    (record,) = store.deliveries.of(submitted.submission_id)
    assert (record.label, record.categories) == ("nsfw", ("nudity", "gore_or_violence"))


def test_training_sets_have_them(tmp_path: Path) -> None:
    """As JSON next to the label, counted in the card; null where no reviewer was asked."""
    store = open_labeled_store(tmp_path)
    gory, unknown = (add_labeled(store, pattern(seed), None) for seed in (1, 2))
    for reviewer in ("ann", "ben"):
        named(store, reviewer, gory, GORE)
    store.log.add(
        NewDecision("u", unknown, Label.NSFW, 0.5, FAKE.model, FAKE.revision, FAKE.backend),
        person("ann"),
    )
    rows = read_rows(store, labels=Labels.ALL)
    found = {row.sha256: metadata(row)["categories"] for row in rows.rows}
    assert found == {gory: '["gore_or_violence"]', unknown: "null"}
    card = dataset_card("set", rows, Provenance({}, Retention(), "2026-01-01"))
    assert "- Images whose reviewers were asked for categories: 1 of 2.\n" in card
    assert "- gore_or_violence, named by more than half of them: 1.\n" in card


def test_a_label_corrected_to_normal_has_no_unsafe_category(tmp_path: Path) -> None:
    """Relabel overrules the reviewers' label, and with it what they named."""
    store = open_labeled_store(tmp_path)
    image = add_labeled(store, pattern(1), None)
    for reviewer in ("ann", "ben"):
        named(store, reviewer, image, GORE, DRAWING, threshold=0.95)
    (wrong,) = store.training.misclassifications(limit=9)
    assert wrong.categories == (DRAWING, GORE)
    store.training.decide(wrong.prediction_id, Label.NORMAL, reviewer="ann")
    (line,) = training_jsonl(store.training.confirmed())
    assert json.loads(line)["categories"] == ["drawing"]
    (row,) = read_rows(store).rows
    assert (row.label, row.categories) == (Label.NORMAL, (DRAWING,))
