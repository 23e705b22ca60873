"""The transparency report: its numbers, its period, its names, and a page that stands alone."""

import json
import re
import shutil
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from nsfw_app.bootstrap import open_policies, open_summaries
from nsfw_app.evidence.estimates import estimate
from nsfw_app.evidence.guarantee import certify_threshold
from nsfw_app.evidence.summaries import EvidenceQuery
from nsfw_app.evidence.summary import THRESHOLDS
from nsfw_app.evidence.summary_json import summary_json
from nsfw_app.records import Label, Policy
from nsfw_app.settings import load
from nsfw_app.store import Store
from tests.support.arrivals import REVIEW, add_reviewed, arrive, decide
from tests.support.commands import Run, run
from tests.support.sample_records import FAKE, OTHER

__all__ = ["run"]  # a fixture
TODAY = datetime.now(UTC).replace(tzinfo=None)
SINCE = (TODAY - timedelta(days=2)).date().isoformat()
UNTIL = (TODAY + timedelta(days=2)).date().isoformat()
PERIOD = ("report", "--since", SINCE, "--until", UNTIL)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory: reviewed images of two models, two policies, a calibration, a purge."""
    directory = tmp_path_factory.mktemp("report")
    store = open_in(directory)
    add_reviewed(store)
    add_reviewed(store, 10, identity=OTHER, source="gallery")
    chosen = load()
    policies = open_policies(chosen, store)
    open_summaries(chosen, store, policies).calibrations.refit(FAKE, author="Root Name")
    policies.save(FAKE.model, Policy(0.6, 0.3, 0.9), author="Root Name", reason="Fewer reviews")
    store.purges.run(actor="daily purge")
    return directory


@pytest.fixture
def filled(template: Path, tmp_path: Path) -> Store:
    """A copy of it as the data directory of the test's commands."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    return open_in(tmp_path)


def open_in(directory: Path) -> Store:
    """The store in a data directory."""
    previews_dir = directory / "images"
    return Store(directory / "review.db", previews_dir=previews_dir, journal_mode="wal")


def found(run: Run, *options: str) -> dict[str, Any]:
    """The JSON of a report."""
    ended = run(*PERIOD, "--json", *options)
    assert ended.code == 0, ended.err
    report: dict[str, Any] = json.loads(ended.out)
    return report


def test_the_numbers_are_those_of_the_store(run: Run, filled: Store) -> None:
    """Volumes by action, queue, agreement, estimates, certificates, versions, purges."""
    report = found(run)
    volumes = {each["model"]: each for each in report["volumes"]}
    assert (volumes["fake"]["images"], volumes["fake"]["source"]) == (150, "api")
    scores = [a.nsfw_score for a in filled.arrivals.after(0)][:150]
    assert volumes["fake"]["block"] == sum(score >= 0.8 for score in scores)
    assert volumes["fake"]["allow"] == sum(score < 0.2 for score in scores)
    entered = {each["reason"]: each for each in report["queue"]}
    assert set(entered) == {"review", "audit", "disagreement"}
    for each in entered.values():
        ends = ("settled_nsfw", "settled_normal", "settled_unsure", "withdrawn", "waiting")
        assert each["entered"] == sum(each[end] for end in ends)
    agreement = report["agreement"]
    assert agreement["krippendorff_alpha"] == 1
    assert agreement["same_pairs"] == agreement["pairs"] == agreement["images"] > 40
    model = report["models"][0]
    assert (model["model"], model["backends"], model["predictions"]) == ("fake", ["test"], 150)
    assert [p["version"] for p in model["policies"]] == [2, 1]
    assert model["policies"][0]["reason"] == "Fewer reviews"
    assert [c["version"] for c in model["calibrations"]] == [1]
    chosen = load()
    policies = open_policies(chosen, filled)
    sample = open_summaries(chosen, filled, policies).population(FAKE).sample
    evidence = model["evidence"]
    expected = estimate(sample, threshold=0.3)
    assert evidence["allowed"]["recall"]["value"] == expected.recall.value
    certificate = certify_threshold(
        sample, recall=0.95, confidence=0.9, candidates=THRESHOLDS[1:-1]
    )
    assert evidence["certificate"] == asdict(certificate) | {
        "covers_policy": False,
        "coverage": "No certificate covers the policy in force, version 2, which allows images "
        "below 0.3.",
    }
    assert evidence["calibration"]["reviews"] == sample.reviews
    assert evidence["headline"].startswith(f"Of 150 images from {SINCE} to {UNTIL} about")
    (source,) = evidence["errors"]["sources"]
    policy_threshold = model["policies"][0]["threshold"]
    missed = estimate(sample, threshold=policy_threshold).missed
    assert (source["name"], source["images"], source["reviews"]) == ("api", 150, sample.reviews)
    assert source["false_negatives"]["value"] == pytest.approx(missed.value / 150)
    assert evidence["decisions"]["total"]["decisions"] == 2 * sample.reviews
    assert report["retention"] == {"keep": "disagreements", "days": 30, "grace_minutes": 60}
    assert report["purges"]["runs"] == 1


def test_drift_is_reported_as_in_insights(run: Run, filled: Store, tmp_path: Path) -> None:
    """Images since the policy was saved are compared with its evidence, in a short period, too."""
    move_arrivals(filled, days=-20)
    for _ in range(100):
        arrive(filled, 0.97, REVIEW)
    page = tmp_path / "report.html"
    evidence = found(run, "--output", str(page))["models"][0]["evidence"]
    chosen = load()
    query = EvidenceQuery(FAKE, days=7)
    shown = open_summaries(chosen, filled, open_policies(chosen, filled)).get(query)
    assert evidence["alarms"] == summary_json(shown, query)["alarms"]
    assert evidence["alarms"][0].startswith("The scores of recent images differ")
    assert f"<strong>{evidence['alarms'][0]}</strong>" in page.read_text()


def test_the_certificate_is_of_all_images_for_one_target(run: Run, filled: Store) -> None:
    """Images before the period count, those after it do not; the target can be set."""
    arrive(filled, 0.5, REVIEW)
    move_arrivals(filled, days=60)
    move_arrivals(filled, days=-80, last=150)
    arrive(filled, 0.5, REVIEW)
    ended = run(*PERIOD, "--json", "--recall", "0.8")
    evidence = json.loads(ended.out)["models"][0]["evidence"]
    assert (evidence["images"], evidence["certificate_images"]) == (1, 151)
    chosen = load()
    summaries = open_summaries(chosen, filled, open_policies(chosen, filled))
    certificate = certify_threshold(
        summaries.population(FAKE, until=TODAY + timedelta(2)).sample,
        recall=0.8,
        confidence=0.9,
        candidates=THRESHOLDS[1:-1],
    )
    assert evidence["certificate"].items() >= asdict(certificate).items()


def test_the_report_says_whether_the_certificate_covers_the_policy(
    run: Run, store: Store, tmp_path: Path
) -> None:
    """Where the policy allows more than is certified, or other weights judged images later."""
    page = tmp_path / "report.html"
    add_certain(store)
    policies = open_policies(load(), store)

    def coverage() -> tuple[bool, str]:
        ended = run(*PERIOD, "--json", "--recall", "0.6", "--output", page)
        (certificate,) = (
            each["evidence"]["certificate"]
            for each in json.loads(ended.out)["models"]
            if each["weights_sha256"] == FAKE.weights_sha256
        )
        assert f"{certificate['coverage']} The confidence of 90.0" in page.read_text()
        return certificate["covers_policy"], certificate["coverage"]

    policies.save(FAKE.model, Policy(0.5, 0.3, 0.8), author="root", reason="test")
    assert coverage() == (
        True,
        "The certificate covers the policy in force, version 2, which allows images below 0.3.",
    )
    policies.save(FAKE.model, Policy(0.95, 0.9, 0.99), author="root", reason="test")
    covers, sentence = coverage()
    assert not covers
    assert sentence.startswith("The certificate does not cover the policy in force, version 3, ")
    assert re.search(r" It reaches only up to 0\.\d+\.", sentence)
    policies.save(FAKE.model, Policy(0.5, 0.3, 0.8), author="root", reason="test")
    arrive(store, 0.5, REVIEW, identity=replace(FAKE, weights_sha256="b" * 64, backend="new"))
    covers, sentence = coverage()
    assert not covers
    assert sentence.endswith(
        f"It is of fake, revision {FAKE.revision[:12]}, test. What judges images now is "
        f"fake, revision {FAKE.revision[:12]}, new."
    )


def add_certain(store: Store) -> None:
    """Images that are all reviewed; the unsafe ones have scores of 0.85 and above."""
    for number in range(160):
        unsafe = number % 2 == 0
        score = 0.85 + number / 2000 if unsafe else 0.1 + number / 2000
        image = arrive(store, score, REVIEW)
        for name in ("ann", "bob"):
            decide(store, image, Label.NSFW if unsafe else Label.NORMAL, name)


def move_arrivals(store: Store, *, days: int, last: int = 10_000) -> None:
    """Move the images that arrived so far, up to an id."""
    with store.log._connections.writing() as db:
        db.execute(
            "update arrivals set arrived_at = strftime('%Y-%m-%dT%H:%M:%fZ', arrived_at, ?)"
            " where id <= ?",
            (f"{days} days", last),
        )


def test_a_period_leaves_out_what_is_outside(run: Run, filled: Store) -> None:
    """A period before the first image is empty, and says so."""
    ended = run("report", "--since", "2020-01-01", "--until", "2020-02-01", "--json")
    report = json.loads(ended.out)
    assert (report["volumes"], report["queue"], report["reviewers"], report["models"]) == (
        [], [], [], [],
    )  # fmt: skip
    assert report["agreement"]["krippendorff_alpha"] is None
    assert report["purges"]["runs"] == 0


def test_names_are_shown_on_request_only(run: Run, filled: Store, tmp_path: Path) -> None:
    """Neither reviewers nor authors are named; with --names they are. Each report is audited."""
    page = tmp_path / "report.html"
    report = found(run, "--output", str(page))
    for text in (json.dumps(report), page.read_text()):
        assert not re.search(r"\b(ann|bob|Root Name)\b", text)
    assert "Author" not in page.read_text()
    assert [each["reviewer"] for each in report["reviewers"]] == ["reviewer 1", "reviewer 2"]
    named = found(run, "--names", "--output", str(page))
    assert {each["reviewer"] for each in named["reviewers"]} == {"ann", "bob"}
    assert named["models"][0]["policies"][0]["author"] == "Root Name"
    assert "Root Name" in page.read_text()
    assert page.read_text().count(">Author</th>") == 3
    entries = [e for e in filled.audit.entries() if e.subject == "transparency report"]
    assert [entry.details["names"] for entry in entries] == [False, True]


def test_the_page_stands_alone(run: Run, filled: Store, tmp_path: Path) -> None:
    """No script, image or link; every table has a caption and headings; both color schemes."""
    page = tmp_path / "report.html"
    ended = run(*PERIOD, "--output", page)
    text = page.read_text()
    assert (ended.code, ended.out) == (0, "")
    assert not re.search(r"<(script|img|link|iframe)|(src|href)=|url\(", text)
    assert '<html lang="en">' in text
    assert "prefers-color-scheme: dark" in text
    assert text.count("<table>") == text.count("<caption>") == text.count("<thead>") > 8
    assert len(re.findall(r"<h1>", text)) == 1
    assert "The confidence of 90.0\u00a0% is for this one target" in text
    assert "Wrong labels by source, estimated, fake" in text
    assert "Decisions by reason, fake" in text
    assert "not defined" not in text


def test_each_plot_has_its_table(run: Run, filled: Store, tmp_path: Path) -> None:
    """Recall and precision with bands, scores, reliability: within the axes, and in tables."""
    page = tmp_path / "report.html"
    evidence = found(run, "--output", str(page))["models"][0]["evidence"]
    text = page.read_text()
    figures = re.findall(r"<figure>.*?</figure>", text, re.DOTALL)[:3]
    rates, _, reliability = figures
    assert len(re.findall(r'<polyline class="band (?:un)?safe" points="\S', rates)) == 2
    assert reliability.count("<polyline") == 2 + len(evidence["reliability"])
    for figure in figures:
        assert 'role="img" aria-label="' in figure
        for x, y in re.findall(
            r"([-\d.]+),([-\d.]+)", " ".join(re.findall(r'points="([^"]+)"', figure))
        ):
            assert 0 <= float(x) <= 320
            assert 0 <= float(y) <= 220
    recall = evidence["curve"]["recall"][30]
    assert f"{100 * recall['value']:.1f}\u00a0% ({100 * recall['lower']:.1f}" in text
    for caption in (
        "Recall and precision by threshold",
        "Images by score",
        "Share of unsafe images",
    ):
        assert re.search(f"<caption>{caption}.*, fake</caption>", text)


def test_a_reason_cannot_add_markup(run: Run, filled: Store, tmp_path: Path) -> None:
    """Texts of people are escaped."""
    policies = open_policies(load(), filled)
    policies.save(FAKE.model, Policy(0.6, 0.3, 0.9), author="x", reason="<b>bold</b>")
    page = tmp_path / "report.html"
    run(*PERIOD, "--output", page)
    assert "<b>" not in page.read_text()
    assert "&lt;b&gt;bold" in page.read_text()


def test_a_target_is_never_rounded_up(run: Run, filled: Store, tmp_path: Path) -> None:
    """99.99 % is not 100 %, which cannot be certified."""
    page = tmp_path / "report.html"
    run(*PERIOD, "--output", page, "--recall", "0.9999")
    assert "recall of at least 99.99\u00a0% is not certified" in page.read_text()


def test_wrong_usage(run: Run, tmp_path: Path) -> None:
    """There must be an output, a period, and a directory to write to."""
    assert run(*PERIOD).code == 2
    assert run("report", "--json").code == 2
    assert run(*PERIOD, "--json", "--recall", "95").code == 2
    assert run("report", "--since", UNTIL, "--until", SINCE, "--json").code == 2
    assert run(*PERIOD, "--output", tmp_path / "none" / "a.html").code == 2
    assert run(*PERIOD, "--output", tmp_path).code == 2
