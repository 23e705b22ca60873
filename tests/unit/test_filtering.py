"""Filtered rows: verdicts computed again, people's labels, and why images are dropped."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest

from nsfw_app.datasets.conditions import Condition
from nsfw_app.datasets.filtering import Criteria, Drop, RowFilter
from nsfw_app.datasets.image_table import schema
from nsfw_app.imaging.file_decoder import ENDS_EARLY
from nsfw_app.imaging.previews import perceptual_hash
from nsfw_app.records import Action, Label, Policy
from nsfw_app.rules.policy import judge
from tests.support.labeled_store import pattern

COLUMNS = schema(["normal", "nsfw"])
POLICY = Policy(0.5, 0.2, 0.8)


def row(number: int, score: float | None, **changes: Any) -> dict[str, Any]:
    """A row of a scan whose own verdict is outdated."""
    return {
        "uri": f"/images/{number}.png",
        "sha256": f"{number:064x}",
        "nsfw_score": score,
        "label": "normal",
        "action": "allow",
        "width": 100,
        "warnings": [],
        **changes,
    }


def run(rows: Sequence[dict[str, Any]], *more: Sequence[dict[str, Any]], **changes: Any) -> Any:
    """The kept rows of one or more parts, and the counts."""
    with RowFilter(Criteria(**{"policy": POLICY, **changes})) as found:
        kept = []
        for part in (rows, *more):
            numbers, table = found.kept(pa.Table.from_pylist(part, COLUMNS))
            assert [part[number]["uri"] for number in numbers] == table["uri"].to_pylist()
            written = table.to_pylist()
            for each, drop in zip(written, found.claim(written), strict=True):
                assert found.is_claimed(each)
                if drop is None:
                    kept.append(each)
                else:
                    found.drop_kept(drop, each)
    assert found.counts.kept == len(kept)
    assert found.counts.rows == (
        len(kept) + found.counts.dropped.total() + found.counts.unavailable.total()
    )
    return kept, found.counts


def names(kept: Sequence[dict[str, Any]]) -> list[str]:
    """The numbers of rows."""
    return [each["uri"].removeprefix("/images/").removesuffix(".png") for each in kept]


@pytest.mark.parametrize("action", [Action.ALLOW, Action.REVIEW, Action.BLOCK])
def test_the_verdict_is_that_of_the_policy_given(action: Action) -> None:
    """Not that of the rows, also at the exact borders; it is written into the kept rows."""
    scores = [0.0, 0.19, 0.2, 0.49, 0.5, 0.79, 0.8, 1.0]
    kept, counts = run([row(i, s) for i, s in enumerate(scores)], keep=frozenset({action}))
    expected = [s for s in scores if judge(s, POLICY).action is action]
    assert [each["nsfw_score"] for each in kept] == expected
    for each in kept:
        assert each["action"] == action
        assert each["label"] == judge(each["nsfw_score"], POLICY).label
        assert (each["threshold"], each["review_from"], each["review_to"]) == (0.5, 0.2, 0.8)
        assert each["settled_label"] is None
    assert counts.dropped == {Drop.ACTION: len(scores) - len(expected)}


def test_images_without_a_prediction_are_never_kept() -> None:
    """Also where people settled a label; they are counted by kind."""
    broken = [
        row(1, None, error_kind="corrupt", action="unavailable"),
        row(2, None, error_kind="missing", sha256=None, warnings=None),
        row(3, 0.0, error_kind="failed"),
    ]
    kept, counts = run(
        broken,
        keep=frozenset({Action.ALLOW, Action.REVIEW, Action.BLOCK}),
        settled={f"{1:064x}": Label.NORMAL},
    )
    assert kept == []
    assert counts.unavailable == {"corrupt": 1, "missing": 1, "failed": 1}


def test_an_image_with_missing_pixels_is_never_allowed() -> None:
    """One that lacks only the mark of its end is."""
    warnings = [
        [{"code": "truncated", "message": "Half of it is missing."}],
        [{"code": "truncated", "message": ENDS_EARLY}],
        [{"code": "extension", "message": "It is a JPEG."}],
    ]
    kept, _ = run([row(i, 0.1, warnings=found) for i, found in enumerate(warnings)])
    assert names(kept) == ["1", "2"]


def test_settled_labels_override_score_and_verdict() -> None:
    """Normal is kept above every limit, nsfw is dropped below; other conditions still hold."""
    kept, counts = run(
        [row(1, 0.95), row(2, 0.05), row(3, 0.95, width=5), row(4, 0.05), row(5, 0.15)],
        settled={
            f"{1:064x}": Label.NORMAL,
            f"{2:064x}": Label.NSFW,
            f"{3:064x}": Label.NORMAL,
        },
        max_score=0.1,
        where=Condition("width > 10", COLUMNS),
    )
    assert names(kept) == ["1", "4"]
    assert [each["settled_label"] for each in kept] == ["normal", None]
    assert counts.dropped == {Drop.SETTLED_LABEL: 1, Drop.WHERE: 1, Drop.MAX_SCORE: 1}
    assert counts.kept_by_label == {Label.NORMAL: 1}


def test_an_image_that_was_settled_as_unsure_is_for_review() -> None:
    """With any score; the kept row has this action, and the label."""
    rows = [row(1, 0.05), row(2, 0.95), row(3, 0.05)]
    settled = {f"{number:064x}": Label.UNSURE for number in (1, 2)}
    kept, counts = run(rows, settled=settled)
    assert names(kept) == ["3"]
    assert counts.dropped == {Drop.UNSURE: 2}
    assert counts.labeled == 2
    kept, _ = run(rows, settled=settled, keep=frozenset({Action.REVIEW}), max_score=0.1)
    assert names(kept) == ["1", "2"]
    assert {(each["action"], each["settled_label"]) for each in kept} == {("review", "unsure")}


def test_no_model_allows_an_image_that_people_doubt() -> None:
    """It is for review; one that the model does not allow stays what it is."""
    rows = [row(1, 0.05), row(2, 0.95), row(3, 0.3), row(4, 0.05)]
    doubted = frozenset(f"{number:064x}" for number in (1, 2, 3))
    kept, counts = run(rows, doubted=doubted)
    assert names(kept) == ["4"]
    assert counts.dropped == {Drop.DOUBTED: 1, Drop.ACTION: 2}
    kept, counts = run(rows, doubted=doubted, keep=frozenset({Action.REVIEW, Action.BLOCK}))
    assert [(each["nsfw_score"], each["action"]) for each in kept] == [
        (0.05, "review"),
        (0.95, "block"),
        (0.3, "review"),
    ]
    assert counts.kept_by_label == {}
    assert counts.dropped == {Drop.ACTION: 1}


def test_doubts_do_not_change_which_draws_an_estimate_is_of() -> None:
    """Else a sample would lose the images that reviewers call unsafe."""
    drawn = {f"{number:064x}" for number in (1, 2, 3)}
    _, counts = run(
        [row(1, 0.05), row(2, 0.05), row(3, 0.05)],
        settled={f"{1:064x}": Label.UNSURE},
        doubted=frozenset({f"{2:064x}"}),
        drawn=frozenset(drawn),
        where=Condition("action == 'allow'", COLUMNS),
    )
    assert set(counts.drawn) == drawn
    assert counts.kept == 1


def test_restricted_images_are_never_kept() -> None:
    """With any score, and with a settled label of normal, too."""
    kept, counts = run(
        [row(1, 0.0), row(2, 0.0)],
        restricted={f"{1:064x}": None},
        settled={f"{1:064x}": Label.NORMAL},
    )
    assert names(kept) == ["2"]
    assert counts.dropped == {Drop.RESTRICTED: 1}


def test_near_duplicates_of_restricted_images_are_never_kept() -> None:
    """By the rule of duplicates; other images are kept, also those without a hash."""
    images = [pattern(3), pattern(3).resize((120, 120)), pattern(4)]
    hashes = [perceptual_hash(image) for image in images]
    assert hashes[0] != hashes[1]
    rows = [row(i, 0.0, perceptual_hash=each) for i, each in enumerate([*hashes, None])]
    kept, counts = run(rows, restricted={"f" * 64: hashes[0], "e" * 64: None})
    assert names(kept) == ["2", "3"]
    assert counts.dropped == {Drop.RESTRICTED: 2}


def test_images_with_several_labels_are_not_kept() -> None:
    """What people say of them is not known, so that no score allows them."""
    kept, counts = run([row(1, 0.0), row(2, 0.0)], differing=frozenset({f"{1:064x}"}))
    assert names(kept) == ["2"]
    assert counts.dropped == {Drop.DIFFERING: 1}


def test_one_of_the_images_with_the_same_bytes_is_kept() -> None:
    """Within a part and across parts; one that is dropped for another reason does not count."""
    kept, counts = run(
        [row(1, 0.1, width=5), row(1, 0.1, uri="/images/a.png"), row(1, 0.1)],
        [row(1, 0.1), row(2, 0.1)],
        is_unique=True,
        where=Condition("width > 10", COLUMNS),
    )
    assert names(kept) == ["a", "2"]
    assert counts.dropped == {Drop.WHERE: 1, Drop.DUPLICATE: 1, Drop.REPEATED: 1}


@pytest.mark.parametrize("is_unique", [False, True])
def test_an_image_with_several_rows_is_kept_once(is_unique: bool) -> None:
    """Within a part and across parts; other bytes under its uri are another image."""
    other = row(1, 0.1, sha256="f" * 64)
    kept, counts = run(
        [row(1, 0.1), row(2, 0.1), row(1, 0.1), row(3, 0.9), row(3, 0.9)],
        [row(2, 0.1), other, other],
        is_unique=is_unique,
    )
    assert names(kept) == ["1", "2", "1"]
    assert counts.dropped == {Drop.REPEATED: 3, Drop.ACTION: 2}
    assert sum(counts.kept_scores) == sum(counts.estimated_scores) == counts.kept == 3


def test_an_image_that_was_drawn_counts_once_under_its_uri() -> None:
    """Where its score keeps it and where a human label drops it; copies count."""
    labels = {f"{1:064x}": Label.NSFW, f"{2:064x}": Label.NORMAL}
    part = [row(n, 0.1, uri=f"/images/{n}{place}.png") for n in (1, 2, 3) for place in "aab"]
    _, counts = run(part, part, settled=labels, drawn=frozenset(f"{n:064x}" for n in (1, 2, 3)))
    assert counts.drawn == {f"{n:064x}": 2 for n in (1, 2, 3)}


def test_conditions_see_the_verdict_in_force() -> None:
    """Label and action are those of the policy given, not of the scan."""
    kept, _ = run(
        [row(1, 0.1), row(2, 0.6)],
        keep=frozenset({Action.ALLOW, Action.REVIEW}),
        where=Condition("label == 'nsfw'", COLUMNS),
    )
    assert names(kept) == ["2"]
