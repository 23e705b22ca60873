"""Filters rows of a scan by verdict, score, columns and hash, without inference.

- Label and action are computed again from the score, under the policy that is given.
- Human labels take the place of score and verdict, where they are given. An image that people
  doubt is for review, and no score allows it.
- An image without a prediction is never kept, and neither is a restricted one, nor a near duplicate
  of one.
- Of rows of the same image, as overlapping sources have them, one is kept when it has been written,
  and with `Criteria.is_unique` so of the same bytes: a copy that cannot be written costs no other
  one. See `RowFilter.claim`.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from nsfw_app.datasets.conditions import Condition
from nsfw_app.datasets.restricted_images import RestrictedImages
from nsfw_app.imaging.file_decoder import ENDS_EARLY
from nsfw_app.models.categories import BY_CARD
from nsfw_app.records import Action, Category, Label, Policy, Verdict, WarningCode
from nsfw_app.rules.policy import judge
from nsfw_app.store.duplicate_index import DuplicateIndex

BINS = 20  # ranges of scores in which images are counted
SETTLED_LABEL = "settled_label"  # column of kept rows: the human label; empty where there is none
ACTIONS = {  # of a settled label
    Label.NORMAL: Action.ALLOW,
    Label.NSFW: Action.BLOCK,
    Label.UNSURE: Action.REVIEW,
}


class Drop(StrEnum):
    """Why an image with a prediction is not kept; the first reason in this order counts."""

    RESTRICTED = "restricted"  # or a near duplicate of a restricted image
    DIFFERING = "differing"  # human labels of its predictions differ
    SETTLED_LABEL = "settled_label"  # the human label has an action that is not kept
    UNSURE = "unsure"  # so it was settled, and images for review are not kept
    DOUBTED = "doubted"  # without a settled label, and images for review are not kept
    ACTION = "action"
    MAX_SCORE = "max_score"
    WHERE = "where"
    REPEATED = "repeated"  # the output has the same bytes under the same URI
    DUPLICATE = "duplicate"
    CHANGED = "changed"  # its file has other bytes than those that were scanned
    UNREADABLE = "unreadable"
    LINE_BREAK = "line_break"  # in its name, which a list of names cannot hold
    AMBIGUOUS = "ambiguous"  # a list does not say which archive it is in, or which of two files
    CREDENTIALS = "credentials"  # of its URL, without which a list cannot name it


@dataclass(frozen=True, slots=True, kw_only=True)
class Criteria:
    """Which images are kept.

    Attributes:
        policy: Decides label and action.
        keep: Actions that are kept.
        max_score: Highest nsfw score that is kept; None for no limit.
        where: Condition that a row must satisfy; it sees label and action under `policy`.
        is_unique: Whether of images with the same bytes one is kept.
        settled, differing, doubted: Human labels, see `HumanLabels`.
        uses_labels: Whether they take the place of score and verdict.
        restricted: Images that are never kept: perceptual hashes, None where unknown, by SHA-256.
        drawn: SHA-256 of images of which is counted how many rows their score keeps.
    """

    policy: Policy
    keep: frozenset[Action] = frozenset({Action.ALLOW})
    max_score: float | None = None
    where: Condition | None = None
    is_unique: bool = False
    settled: Mapping[str, Label] = field(default_factory=dict)
    differing: frozenset[str] = frozenset()
    doubted: frozenset[str] = frozenset()
    uses_labels: bool = True
    restricted: Mapping[str, str | None] = field(default_factory=dict)
    drawn: frozenset[str] = frozenset()


@dataclass(slots=True)
class FilterCounts:
    """What became of the rows.

    Attributes:
        rows: All that were read.
        kept: Those that are kept.
        dropped: Those that are not, by reason.
        unavailable: Those without a prediction, by kind of error.
        labeled: Those with a prediction about which people said something.
        kept_by_label: Those kept that no estimate is about, by their settled label.
        scores: Those with a prediction, in `BINS` equal ranges of scores from 0 to 1.
        kept_scores: Those kept, in the same ranges.
        estimated_scores: Those kept for their score that an estimate is about: images without a
            settled label, and those of `Criteria.drawn` where no label overrides the score.
        drawn: Of `Criteria.drawn`, those that are kept, or would be without a settled label.
    """

    rows: int = 0
    kept: int = 0
    dropped: Counter[Drop] = field(default_factory=Counter)
    unavailable: Counter[str] = field(default_factory=Counter)
    labeled: int = 0
    kept_by_label: Counter[Label] = field(default_factory=Counter)
    scores: list[int] = field(default_factory=lambda: [0] * BINS)
    kept_scores: list[int] = field(default_factory=lambda: [0] * BINS)
    estimated_scores: list[int] = field(default_factory=lambda: [0] * BINS)
    drawn: Counter[str] = field(default_factory=Counter)

    def keep(self, score: float, label: Label | None, *, count: int = 1) -> None:
        """Count an image as kept; with a count of -1 as not kept.

        Args:
            score: Its nsfw score.
            label: None where an estimate is about it.
            count: How many.
        """
        self.kept += count
        self.kept_scores[_bin(score)] += count
        if label is None:
            self.estimated_scores[_bin(score)] += count
        else:
            self.kept_by_label[label] += count


class RowFilter:
    """Filters tables of rows; a context manager, because hashes are in a temporary file.

    Args:
        criteria: Which images are kept.
    """

    def __init__(self, criteria: Criteria) -> None:
        self.counts = FilterCounts()
        self.criteria = criteria
        self._restricted = RestrictedImages(criteria.restricted)
        self._claimed = DuplicateIndex()
        self._drawn: set[str] = set()  # images that only a human label drops

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._claimed.__exit__(kind, error, traceback)

    def kept(self, table: pa.Table) -> tuple[list[int], pa.Table]:
        """The numbers of the rows that are kept, and these rows with the verdict in force.

        Rows of the same image or bytes are all among them; `claim` chooses one.

        Raises:
            ScanFilterError: Values of the condition cannot be compared.
        """
        criteria, counts = self.criteria, self.counts
        uris: list[str] = table["uri"].to_pylist()
        hashes: list[str] = table["sha256"].to_pylist()
        scores: list[float | None] = table["nsfw_score"].to_pylist()
        errors: list[str | None] = table["error_kind"].to_pylist()
        warnings: list[Sequence[Mapping[str, str]] | None] = table["warnings"].to_pylist()
        detail_errors: list[str | None] = table["detail_error_kind"].to_pylist()
        verdicts = [
            judge(
                score if error is None else None,
                criteria.policy,
                incomplete=is_incomplete(found) or detail_error is not None,
                categories=categories,
            )
            for score, error, found, categories, detail_error in zip(
                scores, errors, warnings, self._categories(table), detail_errors, strict=True
            )
        ]
        labels = criteria.settled if criteria.uses_labels else {}
        settled = [labels.get(sha256) for sha256 in hashes]
        actions = [self._action(*each) for each in zip(hashes, verdicts, settled, strict=True)]
        judged = self._judged(table, verdicts, settled)
        matching = range(len(table)) if criteria.where is None else criteria.where.numbers(judged)
        matches = frozenset(matching)
        restricted = self._restricted.among(table)
        numbers: list[int] = []
        for number, (sha256, score, verdict, label, action) in enumerate(
            zip(hashes, scores, verdicts, settled, actions, strict=True)
        ):
            counts.rows += 1
            if verdict.action is Action.UNAVAILABLE or score is None:
                counts.unavailable[errors[number] or "unavailable"] += 1
                continue
            counts.scores[_bin(score)] += 1
            counts.labeled += self._is_labeled(sha256)
            if number in restricted:
                drop: Drop | None = Drop.RESTRICTED
            elif criteria.uses_labels and sha256 in criteria.differing:
                drop = Drop.DIFFERING
            else:
                drop = self._drop(score, verdict, label, action)
            if drop is None and number not in matches:
                drop = Drop.WHERE
            if (
                sha256 in criteria.drawn
                and number in matches
                and number not in restricted
                and self._drop(score, verdict, None, verdict.action) is None
                and (drop is None or self._is_first(uris[number], sha256))
            ):
                counts.drawn[sha256] += 1
            if drop is not None:
                counts.dropped[drop] += 1
                continue
            counts.keep(score, self._known_label(sha256))
            numbers.append(number)
        return numbers, _for_review(judged, actions).take(pa.array(numbers, pa.int64()))

    def drop_kept(self, drop: Drop, row: Mapping[str, Any]) -> None:
        """Count an image as dropped that was counted as kept; `row` is that of the image."""
        sha256, counts = row["sha256"], self.counts
        counts.keep(row["nsfw_score"], self._known_label(sha256), count=-1)
        counts.dropped[drop] += 1
        if sha256 in counts.drawn:
            counts.drawn[sha256] -= 1

    def is_claimed(self, row: Mapping[str, Any]) -> bool:
        """Whether `claim` drops a row, because the same image or bytes have been claimed."""
        if self._claimed.find(_image_hash(row["uri"], row["sha256"])) is not None:
            return True
        return self.criteria.is_unique and self._claimed.find(row["sha256"]) is not None

    def claim(self, rows: Sequence[Mapping[str, Any]]) -> list[Drop | None]:
        """Of rows that can be written, why each is not to be; None where it is.

        Raises:
            StorageError: The disk of temporary files is full.
        """
        are_new = self._claimed.add_new(_image_hash(row["uri"], row["sha256"]) for row in rows)
        drops = [None if is_new else Drop.REPEATED for is_new in are_new]
        if not self.criteria.is_unique:
            return drops
        hashes = [row["sha256"] for row, drop in zip(rows, drops, strict=True) if drop is None]
        unique = iter(self._claimed.add_new(hashes))
        return [drop or (None if next(unique) else Drop.DUPLICATE) for drop in drops]

    def _is_first(self, uri: str, sha256: str) -> bool:
        """Whether an image that was drawn, and that a human label drops, has no earlier row."""
        size = len(self._drawn)
        self._drawn.add(_image_hash(uri, sha256))
        return len(self._drawn) > size

    def _categories(self, table: pa.Table) -> list[dict[Category, float]]:
        """The categories of each row; an earlier version wrote none of the first model's labels."""
        found = [categories_of(values) for values in table["categories"].to_pylist()]
        if not self.criteria.policy.category_rules:
            return found
        models, probabilities = table["model"].to_pylist(), table["probabilities"].to_pylist()
        return [
            categories or BY_CARD.judge(model, labels or {})
            for categories, model, labels in zip(found, models, probabilities, strict=True)
        ]

    def _is_labeled(self, sha256: str) -> bool:
        criteria = self.criteria
        return any(
            sha256 in each for each in (criteria.settled, criteria.differing, criteria.doubted)
        )

    def _known_label(self, sha256: str) -> Label | None:
        """The settled label of a kept image; None where an estimate is about it."""
        if not self.criteria.uses_labels and sha256 in self.criteria.drawn:
            return None
        return self.criteria.settled.get(sha256)

    def _action(self, sha256: str, verdict: Verdict, settled: Label | None) -> Action:
        """The action of the human label, else of the verdict, which allows no image in doubt."""
        if settled is not None:
            return ACTIONS[settled]
        is_doubted = self.criteria.uses_labels and sha256 in self.criteria.doubted
        if is_doubted and verdict.action is Action.ALLOW:
            return Action.REVIEW
        return verdict.action

    def _drop(
        self, score: float, verdict: Verdict, settled: Label | None, action: Action
    ) -> Drop | None:
        """Why an image is dropped for its label or score; None where it is not."""
        criteria = self.criteria
        is_kept = action in criteria.keep
        if settled is not None:
            dropped = Drop.UNSURE if settled is Label.UNSURE else Drop.SETTLED_LABEL
            return None if is_kept else dropped
        if not is_kept:
            return Drop.DOUBTED if verdict.action in criteria.keep else Drop.ACTION
        if criteria.max_score is not None and not score <= criteria.max_score:
            return Drop.MAX_SCORE
        return None

    def _judged(
        self, table: pa.Table, verdicts: Sequence[Verdict], settled: Sequence[Label | None]
    ) -> pa.Table:
        """The rows with verdicts, policy and settled labels."""
        policy, count = self.criteria.policy, len(table)
        columns: dict[str, Sequence[Any]] = {
            "label": [verdict.label for verdict in verdicts],
            "action": [verdict.action for verdict in verdicts],
            "threshold": [policy.threshold] * count,
            "review_from": [policy.review_from] * count,
            "review_to": [policy.review_to] * count,
        }
        for name, values in columns.items():
            kind = table.schema.field(name).type
            number = table.schema.get_field_index(name)
            table = table.set_column(number, name, pa.array(values, kind))
        return table.append_column(SETTLED_LABEL, pa.array(settled, pa.string()))


def _for_review(table: pa.Table, actions: Sequence[Action]) -> pa.Table:
    """The rows with the action `review` where it is that of people's doubts."""
    found = [
        Action.REVIEW if action is Action.REVIEW else verdict
        for action, verdict in zip(actions, table["action"].to_pylist(), strict=True)
    ]
    number = table.schema.get_field_index("action")
    return table.set_column(number, "action", pa.array(found, table.schema.field(number).type))


def _image_hash(uri: str, sha256: str) -> str:
    """A hash of an image: of its URI and its bytes."""
    return hashlib.sha256(f"{uri}\0{sha256}".encode()).hexdigest()


def _bin(score: float) -> int:
    return min(int(score * BINS), BINS - 1)


def filtered_schema(schema: pa.Schema) -> pa.Schema:
    """The columns of filtered rows; `schema` is that of the scan."""
    return schema.append(pa.field(SETTLED_LABEL, pa.string()))


def categories_of(values: Mapping[str, float | None] | None) -> dict[Category, float]:
    """The categories that were judged, of a row of the table."""
    found = values or {}
    return {Category(name): value for name, value in found.items() if value is not None}


def is_incomplete(warnings: Sequence[Mapping[str, str]] | None) -> bool:
    """Whether pixels are missing: the file ends early, and not only without its end marker."""
    return any(
        warning["code"] == WarningCode.TRUNCATED and warning["message"] != ENDS_EARLY
        for warning in warnings or ()
    )
