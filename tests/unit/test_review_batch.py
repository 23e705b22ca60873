"""Images of a scan in the review queue: which, with what, and outside the estimates."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from nsfw_app import settings
from nsfw_app.bootstrap import open_policies, open_store, open_summaries
from nsfw_app.cli.operator import operator
from nsfw_app.datasets import review_batch
from nsfw_app.datasets.judged_rows import judged_image
from nsfw_app.datasets.review_batch import Choice, ReviewBatch
from nsfw_app.imaging import decode
from nsfw_app.records import Background, Label
from nsfw_app.review.unstored import review
from nsfw_app.rules.queue import QueueOrder
from nsfw_app.store import Store
from tests.support.arrivals import decide
from tests.support.commands import Run, run
from tests.support.fakes import LIMITS, FakeClassifier, image_bytes
from tests.support.scans import POLICY, change, rows, scan, scan_all

__all__ = ["run"]  # a fixture

REDS = range(0, 250, 10)
MODEL = FakeClassifier.identity


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with 25 images; one is there twice, and one file is no image."""
    source = tmp_path / "source"
    source.mkdir()
    for red in REDS:
        (source / f"{red:03}.png").write_bytes(image_bytes(red))
    (source / "copy.png").write_bytes(image_bytes(130))
    (source / "bad.png").write_bytes(b"<html>")
    return source


@pytest.fixture
def scanned(source: Path, tmp_path: Path) -> Path:
    """The directory of its scan."""
    scan(source, tmp_path / "scanned")
    return tmp_path / "scanned"


@pytest.fixture
def store(run: Run, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The store of the commands, with audits in use."""
    monkeypatch.setenv("NSFW_QUEUE_RULES", "review,audit,disagreement")
    return open_store(settings.load())


def entries(store: Store) -> dict[str, tuple[str, float | None]]:
    """Reason and draw probability of the open entries, by the name of the image."""
    found = store.log._connections.db.execute(
        "select u.name, q.reason, q.draw_probability from queue q "
        "join predictions p on p.id = q.prediction_id "
        "join uploads u on u.image_sha256 = p.image_sha256 where q.settled_at is null"
    )
    return {row[0].removesuffix(".png"): (row[1], row[2]) for row in found}


def sample_of(store: Store) -> int:
    """The number of images that estimates are made of."""
    chosen = settings.load()
    summaries = open_summaries(chosen, store, open_policies(chosen, store))
    return len(summaries.population(MODEL).sample)


def test_the_images_nearest_the_threshold(run: Run, scanned: Path, store: Store) -> None:
    """Of all actions, each hash once, chosen and not drawn."""
    ended = run("filter", scanned, "--review", "4", "--batch", "first")
    assert ended.code == 0
    found = entries(store)
    assert {name.replace("copy", "130") for name in found} == {"110", "120", "130", "140"}
    assert set(found.values()) == {("review", None)}
    assert "4 images are in the review queue as batch first, chosen from 25; 0 wait" in ended.err


def test_a_second_batch_has_the_next_images(run: Run, scanned: Path, store: Store) -> None:
    """Images that wait already are counted, and take no place in the batch."""
    for batch, words in (
        ("first", "20 images are in the review queue as batch first, chosen from 25; 0 wait"),
        ("second", "5 images are in the review queue as batch second, chosen from 5; 20 wait"),
    ):
        assert words in run("filter", scanned, "--review", "20", "--batch", batch).err
    assert len(entries(store)) == 25


@pytest.mark.parametrize("options", [(), ("--sample",)])
def test_images_of_overlapping_sources_are_chosen_once(
    run: Run, source: Path, tmp_path: Path, store: Store, options: tuple[str, ...]
) -> None:
    """Their further rows are counted as such, and copies as duplicates."""
    scan_all([source, Path(f"{source}/1*.png")], tmp_path / "scanned")
    batch = ("--review", "40", "--batch", "first", "--keep", "allow,review,block", *options)
    ended = run("filter", tmp_path / "scanned", *batch)
    assert "25 images are in the review queue as batch first, chosen from 25; 0 wait" in ended.err
    assert "37 images: 25 kept, 11 dropped (10 listed more than once, 1 duplicates)" in ended.err
    assert len(entries(store)) == 25


def test_what_reviewers_get(run: Run, scanned: Path, store: Store) -> None:
    """Preview, score and facts of the scan, without inference; the batch is that of the upload."""
    run("filter", scanned, "--review", "1", "--batch", "first")
    (lease,) = store.leases.claim(
        "ann", count=5, holding=[], threshold=0.5, order=QueueOrder.PRIORITY
    )
    image = store.catalog.get(lease.prediction_id)
    row = rows(scanned)["130.png"]
    assert image.prediction.nsfw_score == row["nsfw_score"]
    assert image.prediction.identity == MODEL
    assert (image.info.width, image.info.height) == (40, 30)
    assert store.previews.has(image.info.sha256)
    assert image.preview.perceptual_hash == row["perceptual_hash"]
    uploads = store.log._connections.db.execute("select source, batch_id from uploads").fetchall()
    assert [tuple(each) for each in uploads] == [("scan", "first")]


def test_the_audit_has_the_batch_and_the_export(
    run: Run, scanned: Path, store: Store, tmp_path: Path
) -> None:
    """Who queued how many images of what and why; and that people's labels left."""
    run("filter", scanned, "--review", "3", "--batch", "first")
    run("filter", scanned, "--review", "4", "--batch", "second")
    run("filter", scanned, "--decisions")
    run("filter", scanned, "--output", tmp_path / "kept.txt")
    run("filter", scanned, "--decisions", "--output", tmp_path / "kept.jsonl")
    found = [(e.action, e.subject, e.details) for e in store.audit.entries()]
    details = {"reason": "review", "scan": str(scanned)}
    assert found == [
        ("queue", "first", {"images": 3, **details}),
        ("queue", "second", {"images": 4, **details}),
        ("export", "settled labels of a scan", {"scan": str(scanned)}),
    ]
    assert {e.actor for e in store.audit.entries()} == {operator()}


def test_answers_are_used_by_the_next_filter(
    run: Run, scanned: Path, store: Store, tmp_path: Path
) -> None:
    """An image that people found to be normal is kept; it is not chosen for review again."""
    run("filter", scanned, "--review", "1", "--batch", "first")
    sha256 = decode.sha256(image_bytes(130))
    for reviewer in ("ann", "bob"):  # a disagreement is settled by two
        decide(store, sha256, Label.NORMAL, reviewer, identity=MODEL)
    run("filter", scanned, "--decisions", "--output", tmp_path / "kept.txt")
    kept = {Path(line).stem for line in (tmp_path / "kept.txt").read_text().splitlines()}
    assert {"130", "copy"} <= kept
    assert "120" not in kept
    run("filter", scanned, "--review", "1", "--batch", "second")
    assert set(entries(store)) == {"120"}


def test_imported_labels_of_a_batch_are_used(
    run: Run, scanned: Path, store: Store, tmp_path: Path
) -> None:
    """While its images wait for reviewers, who still find them in the queue."""
    run("filter", scanned, "--review", "2", "--batch", "first")
    hashes = [decode.sha256(image_bytes(red)) for red in (120, 130)]
    (tmp_path / "l.csv").write_text("sha256,label\n" + "".join(f"{h},normal\n" for h in hashes))
    run("import-labels", tmp_path / "l.csv", "--source", "lab")
    ended = run("filter", scanned, "--decisions")
    assert "3 are kept by a human label" in ended.err
    assert len(entries(store)) == 2


def test_a_sample_is_drawn_from_what_is_kept(run: Run, scanned: Path, store: Store) -> None:
    """With the probability of the draw; the same seed draws the same images."""
    first = run("filter", scanned, "--review", "3", "--sample", "--batch", "s", "--seed", "5")
    found = entries(store)
    assert "3 images are in the review queue as batch s, chosen from 6; 0 wait" in first.err
    assert set(found) <= {f"{red:03}" for red in range(0, 60, 10)}
    assert set(found.values()) == {("audit", 0.5)}
    again = run("filter", scanned, "--review", "3", "--sample", "--batch", "t", "--seed", "5")
    assert "0 images are in the review queue as batch t, chosen from 6; 3 wait" in again.err
    assert entries(store) == found


def test_each_image_is_drawn_as_often(scanned: Path, store: Store) -> None:
    """Over many seeds, within what chance allows."""
    batch = ReviewBatch(store, name="s", owner="ann", choice=Choice.SAMPLE, limits=LIMITS)
    counts: Counter[str] = Counter()
    hashes = [f"{number:064x}" for number in range(6)]
    for seed in range(2_000):
        ranks = {each: batch.rank({"sha256": each}, seed=seed, threshold=0.5) for each in hashes}
        counts.update(sorted(ranks, key=ranks.__getitem__)[:2])
    assert all(abs(counts[each] / 2_000 - 1 / 3) < 0.05 for each in hashes)


def test_a_larger_draw_raises_the_probability_of_a_smaller_one(
    run: Run, scanned: Path, store: Store
) -> None:
    """Of the images among which it is, also those that people's labels drop, and with any seed."""
    draw = ("filter", scanned, "--sample", "--batch")
    run(*draw, "s", "--review", "3")
    first = entries(store)
    assert set(first.values()) == {("audit", 0.5)}
    run(*draw, "t", "--review", "2")
    assert entries(store) == first
    run(*draw, "u", "--review", "10", "--keep", "review")
    assert {name: entries(store)[name] for name in first} == first
    name = min(first)
    sha256 = decode.sha256(image_bytes(int(name)))
    for reviewer in ("ann", "bob"):
        decide(store, sha256, Label.NSFW, reviewer, identity=MODEL)
    run(*draw, "v", "--review", "4", "--decisions", "--seed", "7")
    draws = store.scan_draws.of(str(scanned), MODEL)
    allowed = {each.image_sha256: each.probability for each in draws if each.nsfw_score < 0.2}
    assert set(allowed.values()) == {4 / 5}
    assert sha256 in allowed
    assert len(allowed) >= 4


@pytest.mark.parametrize("options", [("--sample",), ()])
def test_estimates_do_not_have_them(
    run: Run, scanned: Path, store: Store, options: tuple[str, ...]
) -> None:
    """They did not arrive, so that what is known of arrivals does not change, answered or not."""
    run("filter", scanned, "--review", "3", "--batch", "s", *options)
    assert len(entries(store)) == 3
    assert sample_of(store) == 0
    hashes = store.log._connections.db.execute("select sha256 from images").fetchall()
    for each in hashes:
        decide(store, each[0], Label.NSFW, identity=MODEL)
    assert sample_of(store) == 0


def test_the_next_images_take_the_places_of_those_that_cannot_be_read(
    run: Run, source: Path, scanned: Path, store: Store
) -> None:
    """No other image is shown under the score of the one that was scanned; the rest is counted."""
    change(source / "120.png", image_bytes(1))
    (source / "140.png").unlink()
    ended = run("filter", scanned, "--review", "4", "--batch", "first")
    assert ended.code == 3
    assert "4 images are in the review queue as batch first, chosen from 25; 0 wait" in ended.err
    assert "2 have changed or cannot be read" in ended.err
    assert set(entries(store)) - {"copy", "130"} == {"100", "110", "150"}


def test_a_batch_of_images_of_which_none_can_be_read(
    run: Run, source: Path, scanned: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file is tried once, in several passes, and the command ends."""
    monkeypatch.setattr(review_batch, "NEXT", 7)
    for path in source.glob("*.png"):
        change(path, image_bytes(255))
    ended = run("filter", scanned, "--review", "4", "--batch", "first")
    assert ended.code == 3
    assert "0 images are in the review queue as batch first, chosen from 25" in ended.err
    assert "26 have changed or cannot be read" in ended.err
    assert entries(store) == {}


@pytest.mark.parametrize("options", [(), ("--sample",)])
def test_a_copy_takes_the_place_of_an_image_that_cannot_be_read(
    run: Run, source: Path, tmp_path: Path, store: Store, options: tuple[str, ...]
) -> None:
    """Also where it is listed after it; the image with red 230 has no copy."""
    for name in ("0.png", "z.png"):
        (source / name).write_bytes(image_bytes(240))
    scan(source, tmp_path / "scanned")
    for name in ("0.png", "240.png", "230.png"):
        change(source / name, image_bytes(1))
    batch = ("--review", "9", "--batch", "first", "--keep", "block")
    ended = run("filter", tmp_path / "scanned", *batch, *options)
    assert ended.code == 3
    assert "3 images are in the review queue as batch first, chosen from 4; 0 wait" in ended.err
    assert re.search("[123] have changed or cannot be read", ended.err)
    assert set(entries(store)) == {"210", "220", "z"}


def test_images_of_a_draw_are_not_replaced(
    run: Run, source: Path, scanned: Path, store: Store
) -> None:
    """Others would not have the probability of the draw."""
    drawn = {f"{red:03}" for red in range(0, 60, 10)}
    run("filter", scanned, "--review", "3", "--sample", "--batch", "s")
    left = sorted(drawn - set(entries(store)))
    change(source / f"{left[0]}.png", image_bytes(255))
    ended = run("filter", scanned, "--review", "6", "--sample", "--batch", "t")
    assert ended.code == 3
    assert "2 images are in the review queue as batch t, chosen from 6; 3 wait" in ended.err
    assert "1 have changed or cannot be read" in ended.err
    assert set(entries(store)) == drawn - {left[0]}


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--review", "3"), 2, "--review needs a --batch"),
        (("--sample",), 2, "belong to --review"),
        (("--batch", "x"), 2, "belong to --review"),
        (("--review", "3", "--batch", "x", "--output", "kept.txt"), 2, "has no --output"),
        (("--review", "3", "--batch", "x", "--report", "a.html"), 2, "has no --output"),
        (("--review", "0", "--batch", "x"), 2, "greater than or equal to 1"),
    ],
)
def test_wrong_usage(
    run: Run, scanned: Path, options: tuple[str, ...], code: int, words: str
) -> None:
    """A sentence that says what is wrong."""
    ended = run("filter", scanned, *options)
    assert ended.code == code
    assert words in " ".join(ended.err.replace("│", " ").split())


def test_a_rule_that_is_not_in_use(
    run: Run, scanned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images would silently not enter: it is an error that names the setting."""
    monkeypatch.setenv("NSFW_QUEUE_RULES", "review")
    ended = run("filter", scanned, "--review", "3", "--sample", "--batch", "x")
    assert ended.code == 1
    assert "add it to NSFW_QUEUE_RULES" in ended.err


class DarkClassifier(FakeClassifier):
    """The fake with the opposite score: the less red, the more unsafe."""

    def predict(self, images: Sequence[Image.Image]) -> list[dict[str, float]]:
        """See `Classifier.predict`."""
        found = super().predict(images)
        return [{"normal": each["nsfw"], "nsfw": each["normal"]} for each in found]


@pytest.mark.parametrize(
    ("classifier", "background"),
    [(FakeClassifier, Background.WHITE), (DarkClassifier, Background.BLACK)],
)
def test_a_row_is_the_image_that_was_judged(
    tmp_path: Path, classifier: type[FakeClassifier], background: Background
) -> None:
    """Also the background of a transparent image, which its row names in a warning."""
    source = tmp_path / "source"
    source.mkdir()
    hidden = Image.new("RGBA", (200, 150), (255, 255, 255, 0))  # white on white, but not on black
    ImageDraw.Draw(hidden).ellipse((40, 30, 160, 120), fill=(255, 255, 255, 255))
    hidden.save(source / "a.jpg", "PNG")
    scan(source, tmp_path / "scanned", classifier=classifier())
    row = rows(tmp_path / "scanned")["a.jpg"]
    data = (source / "a.jpg").read_bytes()
    expected = review(data, "a.jpg", classifier=classifier(), policy=POLICY, limits=LIMITS)
    assert [warning.code for warning in expected.warnings] == ["extension", "transparency"]
    image = judged_image(row)
    assert image.info == expected.image
    assert image.prediction == expected.prediction
    assert image.prediction.background is background
