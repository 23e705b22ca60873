"""The datasheet: counts, settings, and an unsafe rate only where there is evidence."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nsfw_app import settings
from nsfw_app.bootstrap import open_policies, open_store, open_summaries
from nsfw_app.datasets.filtering import BINS, Criteria, FilterCounts
from nsfw_app.datasets.unsafe_rate import unsafe_rate
from nsfw_app.evidence.estimates import Interval
from nsfw_app.evidence.kept_rate import kept_rate
from nsfw_app.evidence.population import Population
from nsfw_app.evidence.sample import Sample
from nsfw_app.records import Action, Category, CategoryRule, Label, ModelIdentity, Policy
from nsfw_app.rules.queue import Admission
from nsfw_app.store.scan_draws import ScanDraw
from tests.support.arrivals import add_reviewed, arrive, decide
from tests.support.commands import Run, run
from tests.support.fakes import FakeClassifier, image_bytes
from tests.support.scans import rows as scanned_rows
from tests.support.scans import scan, scan_all

__all__ = ["run"]  # a fixture

Sheet = Callable[..., dict[str, Any]]
REPEATS = 300
NONE = np.zeros(0)
NO_ARRIVALS = Population(
    Sample(NONE, NONE, NONE.astype(np.int8)),
    NONE.astype(np.int64),
    NONE.astype("datetime64[s]"),
    NONE,
    NONE.astype("datetime64[s]"),
    0,
    NONE.astype(object),
)


class Links(HTMLParser):
    """Collects what a page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep scripts, images, and everything with an address."""
        names = {name for name, _ in attrs}
        if tag in {"script", "link", "img", "iframe"} or names & {"src", "href"}:
            self.found.append((tag, str(attrs)))


@pytest.fixture
def scanned(tmp_path: Path) -> Path:
    """A scan of 10 images and one file that is none, from a directory with markup in its name."""
    source = tmp_path / "<b>source"
    source.mkdir()
    for red in range(0, 250, 25):
        (source / f"{red:03}.png").write_bytes(image_bytes(red))
    (source / "bad.png").write_bytes(b"<html>")
    scan(source, tmp_path / "scanned")
    return tmp_path / "scanned"


@pytest.fixture
def sheet(run: Run, scanned: Path, tmp_path: Path) -> Sheet:
    """Filters with options; the datasheet as JSON, its page in `sheet.html`."""

    def sheet(*options: str | Path) -> dict[str, Any]:
        files = tmp_path / "sheet.json", tmp_path / "sheet.html"
        for file in files:
            file.unlink(missing_ok=True)
        ended = run("filter", scanned, "--report", files[0], "--report", files[1], *options)
        assert ended.code in {0, 3}
        found: dict[str, Any] = json.loads(files[0].read_text())
        return found

    return sheet


def review(identity: ModelIdentity) -> None:
    """Images that arrive in the store of the commands, half of them reviewed."""
    add_reviewed(open_store(settings.load()), 150, identity=identity)


def test_counts_settings_and_scores(sheet: Sheet, scanned: Path, tmp_path: Path) -> None:
    """Everything that decided which images are kept, and what became of them."""
    found = sheet("--max-score", "0.15", "--where", "width >= 10", "--unique")
    assert found["counts"] == {
        "images": 11,
        "kept": 2,
        "dropped": {"action": 7, "max_score": 1},
        "unavailable": {"not_an_image": 1},
        "with_human_label": 0,
        "kept_with_settled_label": {},
    }
    assert found["criteria"] == {
        "keep": ["allow"],
        "max_score": 0.15,
        "where": "width >= 10",
        "unique": True,
        "decisions": False,
    }
    assert found["model"]["weights_sha256"] == FakeClassifier.identity.weights_sha256
    assert found["policy"]["threshold"] == 0.5
    assert found["scan"]["sources"] == [str(tmp_path / "<b>source")]
    assert (len(found["scores"]["all"]), sum(found["scores"]["all"])) == (BINS, 10)
    assert [i for i, n in enumerate(found["scores"]["kept"]) if n] == [0, 1]


def test_images_of_overlapping_sources_count_once(
    sheet: Sheet, scanned: Path, tmp_path: Path
) -> None:
    """The datasheet has the counts of the output, and says how many rows are further ones."""
    source = tmp_path / "<b>source"
    scan_all([source, Path(f"{source}/0*.png")], scanned)
    found = sheet("--output", tmp_path / "kept.jsonl")
    kept = len((tmp_path / "kept.jsonl").read_text().splitlines())
    assert found["counts"]["kept"] == sum(found["scores"]["kept"]) == kept == 3
    assert found["counts"]["dropped"]["repeated"] == 3
    counts = found["counts"]
    dropped, unavailable = sum(counts["dropped"].values()), sum(counts["unavailable"].values())
    assert counts["images"] == counts["kept"] + dropped + unavailable


def test_images_that_were_not_written_are_not_counted_as_kept(sheet: Sheet, tmp_path: Path) -> None:
    """Counts and scores are those of the output."""
    (tmp_path / "<b>source" / "025.png").unlink()
    found = sheet("--output", tmp_path / "kept.tar")
    assert found["counts"]["kept"] == sum(found["scores"]["kept"]) == 2
    assert found["counts"]["dropped"]["unreadable"] == 1


def test_without_evidence_no_rate_is_claimed(sheet: Sheet, tmp_path: Path) -> None:
    """Neither without arrivals nor with those of another model; the page says so."""
    for prepare in (lambda: None, lambda: review(ModelIdentity("other", "r", "o" * 64, "test"))):
        prepare()
        found = sheet()
        assert found["unsafe_rate"] is None
        assert "How many of the kept images are unsafe is not known" in found["limits"][0]
        page = (tmp_path / "sheet.html").read_text()
        assert "How many of the kept images are unsafe is not known" in page
        assert "Estimated share" not in page


def test_the_rate_is_that_of_the_evidence(sheet: Sheet, tmp_path: Path) -> None:
    """Estimated from reviewed arrivals of the same model, with interval, count and assumption."""
    review(FakeClassifier.identity)
    found = sheet("--keep", "allow,review")
    store = open_store(settings.load())
    summaries = open_summaries(settings.load(), store, open_policies(settings.load(), store))
    expected = kept_rate(
        summaries.population(FakeClassifier.identity).sample, found["scores"]["kept"]
    )
    assert expected is not None
    assert found["unsafe_rate"]["value"] == pytest.approx(expected.rate.value)
    assert found["unsafe_rate"]["lower"] < found["unsafe_rate"]["value"]
    assert found["unsafe_rate"]["value"] < found["unsafe_rate"]["upper"]
    assert found["unsafe_rate"]["reviews"] == expected.rate.reviews > 10
    assert found["unsafe_rate"]["source"] == "arrivals"
    assert "images that arrived" in found["limits"][0]
    assert "Estimated share" in (tmp_path / "sheet.html").read_text()


def test_the_rate_is_that_of_a_sample_of_the_scan(
    run: Run, sheet: Sheet, scanned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Drawn images come before arrivals, settled or provisional; those without decisions do not."""
    monkeypatch.setenv("NSFW_QUEUE_RULES", "review,audit,disagreement")
    review(FakeClassifier.identity)
    ended = run(
        "filter", scanned, "--review", "5", "--sample", "--keep", "allow,review", "--batch", "s"
    )
    assert "5 images are in the review queue" in ended.err
    store = open_store(settings.load())
    draws = store.scan_draws.of(str(scanned.resolve()), FakeClassifier.identity)
    assert {each.probability for each in draws} == {5 / 9}
    assert sheet("--keep", "allow,review")["unsafe_rate"]["source"] == "arrivals"
    in_order = sorted(draws, key=lambda each: each.nsfw_score)
    decide(store, in_order[0].image_sha256, Label.NORMAL, identity=FakeClassifier.identity)
    decide(store, in_order[1].image_sha256, Label.NSFW, identity=FakeClassifier.identity)
    found = sheet("--keep", "allow,review")
    assert found["unsafe_rate"]["source"] == "scan"
    assert found["unsafe_rate"]["reviews"] == 2
    assert found["unsafe_rate"]["provisional"] == 1
    assert found["unsafe_rate"]["undecided"] == 3
    assert found["unsafe_rate"]["value"] == 0.5
    assert "drawn at random from this scan" in found["limits"][0]
    assert "3 images that were drawn have no decision yet" in (tmp_path / "sheet.html").read_text()
    settled = sheet("--keep", "allow,review", "--decisions")
    assert settled["counts"]["kept_with_settled_label"] == {"normal": 1}
    assert settled["unsafe_rate"]["reviews"] > 0


def test_images_that_were_reviewed_before_a_sample_are_counted_apart(
    run: Run,
    sheet: Sheet,
    scanned: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The sample leaves out those nearest the threshold; no estimate is about them."""
    monkeypatch.setenv("NSFW_QUEUE_RULES", "review,audit")
    kept = ("--keep", "allow,review")
    store = open_store(settings.load())

    def answer(batch: str, label: Label) -> int:
        uploaded = "select image_sha256 from uploads where batch_id = ?"
        found = store.log._connections.db.execute(uploaded, [batch]).fetchall()
        hashes = [row["image_sha256"] for row in found]
        for sha256 in hashes:
            decide(store, sha256, label, identity=FakeClassifier.identity)
        return len(hashes)

    run("filter", scanned, "--review", "4", *kept, "--batch", "near")
    assert answer("near", Label.NSFW) == 4
    run("filter", scanned, "--review", "9", "--sample", *kept, "--batch", "drawn")
    assert answer("drawn", Label.NORMAL) == 5
    found = sheet(*kept)
    assert found["counts"]["kept"] == 9
    assert found["counts"]["kept_with_settled_label"] == {"nsfw": 4}
    assert (found["unsafe_rate"]["value"], found["unsafe_rate"]["images"]) == (0, 5)
    page = (tmp_path / "sheet.html").read_text()
    assert "4 more of the kept images have a settled label, 4 of them nsfw" in page


@pytest.mark.parametrize("is_import", [True, False])
def test_images_with_a_label_before_a_sample_say_nothing_about_others(
    run: Run,
    sheet: Sheet,
    scanned: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_import: bool,
) -> None:
    """Also where they are drawn: all unsafe images had one, and none of the others is unsafe."""
    monkeypatch.setenv("NSFW_QUEUE_RULES", "audit")
    store = open_store(settings.load())
    kept = ("--keep", "allow,review")
    rows = scanned_rows(scanned).values()
    unsafe = {row["sha256"] for row in rows if (row["nsfw_score"] or 0) > 0.5}
    assert len(unsafe) == 4
    if is_import:
        labels = dict.fromkeys(unsafe, Label.NSFW)
        store.label_imports.record(labels, "lab", threshold_of=lambda _: 0.5, actor="operator")
    else:
        for row in rows:
            if row["sha256"] in unsafe:
                arrive(
                    store,
                    row["nsfw_score"],
                    Admission(None, 0.0),
                    identity=FakeClassifier.identity,
                    sha256=row["sha256"],
                )
                decide(store, row["sha256"], Label.NSFW, identity=FakeClassifier.identity)
    run("filter", scanned, "--review", "9", "--sample", *kept, "--batch", "s")
    draws = store.scan_draws.of(str(scanned.resolve()), FakeClassifier.identity)
    assert len(draws) == 9
    for draw in draws:
        label = Label.NSFW if draw.image_sha256 in unsafe else Label.NORMAL
        decide(store, draw.image_sha256, label, "bob", identity=FakeClassifier.identity)
    found = sheet(*kept)
    assert (found["unsafe_rate"]["value"], found["unsafe_rate"]["images"]) == (0, 6)
    assert found["counts"]["kept_with_settled_label"] == {"nsfw": 3}


@pytest.mark.parametrize(
    "labels", [[Label.UNSURE], [Label.UNSURE] * 2, [Label.UNSURE, Label.NORMAL, Label.UNSURE]]
)
def test_images_that_reviewers_are_unsure_about_have_a_decision(
    run: Run,
    sheet: Sheet,
    scanned: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    labels: Sequence[Label],
) -> None:
    """They are named apart, waiting or settled as unsure, also where one reviewer said normal."""
    monkeypatch.setenv("NSFW_QUEUE_RULES", "review,audit,disagreement")
    monkeypatch.setenv("NSFW_ANSWERS", "audit=2")
    run("filter", scanned, "--review", "3", "--sample", "--batch", "s")
    store = open_store(settings.load())
    first, second, _ = store.scan_draws.of(str(scanned.resolve()), FakeClassifier.identity)
    for name in ("ann", "bob"):
        decide(store, first.image_sha256, Label.NORMAL, name, identity=FakeClassifier.identity)
    for name, label in zip(("ann", "bob", "eve"), labels, strict=False):
        decide(store, second.image_sha256, label, name, identity=FakeClassifier.identity)
    found = sheet()["unsafe_rate"]
    assert (found["reviews"], found["undecided"], found["unsure"]) == (1, 1, 1)
    assert found["upper_with_unsure"] > found["upper"]
    page = (tmp_path / "sheet.html").read_text()
    assert "1 images that were drawn have no decision yet. " in page
    assert "About 1 images that were drawn reviewers are unsure; if all of these are" in page
    assert "reviewers are unsure, which is optimistic" in page


def test_a_second_larger_sample_is_worth_as_much_as_if_it_were_the_first(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interval covers the truth, and is no wider, over repetitions with other unsafe images.

    Which images are unsafe is drawn in place of which are reviewed: nothing but the sample differs.
    """
    monkeypatch.setenv("NSFW_QUEUE_RULES", "audit")
    source = tmp_path / "many"
    source.mkdir()
    count, small, large, unsafe = 60, 3, 40, 6
    for side in range(count):
        (source / f"{side}.png").write_bytes(image_bytes(5, size=(10 + side, 20)))
    scan(source, tmp_path / "scanned-2")
    for size in (small, large):
        batch = ("--review", str(size), "--sample", "--batch", "s")
        assert run("filter", tmp_path / "scanned-2", *batch).code == 0
    store = open_store(settings.load())
    draws = store.scan_draws.of(str(tmp_path / "scanned-2"), FakeClassifier.identity)
    assert len(draws) == large
    counts = FilterCounts(estimated_scores=[count] + [0] * (BINS - 1))
    counts.drawn = Counter(each.image_sha256 for each in draws)

    def interval(draws: Sequence[ScanDraw]) -> Interval:
        found = unsafe_rate(Criteria(policy=Policy(0.5, 0.2, 0.8)), counts, draws, NO_ARRIVALS)
        assert found is not None
        return found.rate.rate

    covering, widths, alone = 0, [], []
    for seed in range(REPEATS):
        labels = np.random.default_rng(seed).permutation(count)[:large] < unsafe
        labeled = [
            replace(each, label=Label.NSFW if is_unsafe else Label.NORMAL)
            for each, is_unsafe in zip(draws, labels.tolist(), strict=True)
        ]
        found = interval(labeled)
        covering += found.lower <= unsafe / count <= found.upper
        widths.append(found.upper - found.lower)
        only = interval([replace(each, probability=large / count) for each in labeled])
        alone.append(only.upper - only.lower)
    assert covering / REPEATS >= 0.93
    assert np.mean(widths) == pytest.approx(np.mean(alone), rel=0.05)


def test_a_sample_of_another_scan_does_not_count(
    run: Run, sheet: Sheet, scanned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says nothing of this one; neither does a batch that two scans have, or a chosen one."""
    monkeypatch.setenv("NSFW_QUEUE_RULES", "review,audit,disagreement")
    scan(tmp_path / "<b>source", tmp_path / "other")
    store = open_store(settings.load())
    identity = FakeClassifier.identity
    run("filter", tmp_path / "other", "--review", "2", "--sample", "--batch", "s")
    run("filter", scanned, "--review", "2", "--keep", "block", "--batch", "near")
    for directory, count in (("other", 2), ("scanned", 0)):
        assert len(store.scan_draws.of(str(tmp_path / directory), identity)) == count
    run("filter", scanned, "--review", "3", "--sample", "--keep", "review", "--batch", "s")
    for directory in ("other", "scanned"):
        assert store.scan_draws.of(str(tmp_path / directory), identity) == []


def test_the_policy_has_its_rules(sheet: Sheet, tmp_path: Path) -> None:
    """Images that a rule drops are counted as dropped by action: the sheet says which rules."""
    store = open_store(settings.load())
    rules = (CategoryRule(Category.NUDITY, 0.4, Action.BLOCK),)
    policies = open_policies(settings.load(), store)
    policies.save("fake", Policy(0.5, 0.2, 0.8, category_rules=rules), author="a", reason="r")
    found = sheet()
    assert found["policy"]["category_rules"] == [
        {"category": "nudity", "threshold": 0.4, "action": "block"}
    ]
    page = (tmp_path / "sheet.html").read_text()
    assert "category: nudity, threshold: 0.4, action: block" in page
    assert found["policy"]["overrules_allow"] is False


def test_the_page_stands_alone(sheet: Sheet, tmp_path: Path) -> None:
    """It loads nothing, and names from sources are escaped."""
    sheet()
    page = (tmp_path / "sheet.html").read_text()
    links = Links()
    links.feed(page)
    assert links.found == []
    assert "&lt;b&gt;source" in page
    assert "<b>" not in page


def test_the_name_of_a_report_says_its_format(run: Run, scanned: Path, tmp_path: Path) -> None:
    """Others are wrong usage, before anything is written."""
    ended = run(
        "filter", scanned, "--output", tmp_path / "kept.txt", "--report", tmp_path / "sheet.pdf"
    )
    assert ended.code == 2
    assert not (tmp_path / "kept.txt").exists()


def test_a_report_replaces_nothing(
    run: Run, scanned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is there, the scan, and the output are safe, before anything is written."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.json").write_text("mine")
    (tmp_path / "folder.json").mkdir()
    before = (scanned / "scan.json").read_bytes()
    for report, words in (
        ("mine.json", "exists and is not overwritten"),
        ("folder.json", "exists and is not overwritten"),
        ("scanned/scan.json", "exists and is not overwritten"),
        ("scanned/sheet.json", "lies in"),
        ("./kept.json", "is also the name of another output"),
    ):
        options = ("--output", "kept.json", "--format", "jsonl", "--report", report)
        ended = run("filter", scanned, *options)
        assert ended.code == 2
        assert words in " ".join(ended.err.replace("│", " ").split())
        assert not (tmp_path / "kept.json").exists()
    ended = run("filter", scanned, "--report", "a.json", "--report", "a.json")
    assert "is also the name of another output" in " ".join(ended.err.replace("│", " ").split())
    assert (scanned / "scan.json").read_bytes() == before
    assert (tmp_path / "mine.json").read_text() == "mine"
