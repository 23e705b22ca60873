"""Scans of files that are damaged, huge, or no files at all, and of very many."""

import os
import random
from pathlib import Path

import pytest

from nsfw_app.datasets.scan_record import ScanRecord
from tests.support.fakes import LIMITS
from tests.support.image_files import FILES, png
from tests.support.python_process import run_script
from tests.support.scans import rows, scan

# Of 20,000 rows, which together take 125 MB: of the process, and of Python's objects. A hash of
# each image would take 2.5 MB.
MAX_GROWTH_MB, MAX_PYTHON_GROWTH_MB = 25, 1
MEMORY = """
import json, resource, tempfile, tracemalloc
from pathlib import Path
from nsfw_app.datasets import scan as module
from nsfw_app.datasets.entries import Entry, Unit
from nsfw_app.datasets.part_files import PartFiles
from nsfw_app.records import *
from nsfw_app.rules.policy import judge
from tests.support.fakes import LIMITS, FakeClassifier
from tests.support.scans import POLICY

class Reader(module.Reader):
    def read(self, entry):
        return entry.uri.encode()

def review(data, name, *, classifier, policy, limits, sha256, detail):
    prediction = Prediction(sha256, classifier.identity, {"normal": 0.9, "nsfw": 0.1}, 0.1)
    info = ImageInfo(sha256, "PNG", 10, 10, len(data), 1)
    preview = Preview(perceptual_hash=sha256 * 24)
    return Review(name, policy, judge(0.1, policy), sha256, info, prediction, preview)

def units():
    for start in range(0, 30_000, 100):
        yield Unit([Entry(f"{number}.png", "x", size=1) for number in range(start, start + 100)])

module.Reader, module.review = Reader, review
with tempfile.TemporaryDirectory() as folder:
    parts = PartFiles(Path(folder), ["normal", "nsfw"])
    parts.create()
    scanner = module.Scanner(parts, classifier=FakeClassifier(), policy=POLICY, limits=LIMITS)
    megabytes, parts = [], 0
    tracemalloc.start()
    for parts, _ in enumerate(scanner.scan(units()), start=1):
        if parts in {100, 300}:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
            megabytes.append([peak, tracemalloc.get_traced_memory()[0] / 1e6])
    print(json.dumps(megabytes))
"""

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of damaged metadata


def test_each_hostile_file_has_one_row(tmp_path: Path) -> None:
    """Damaged files of every format, bombs, pipes, broken links: none ends the scan or is safe."""
    source = tmp_path / "source"
    source.mkdir()
    chance = random.Random(0)
    for name, data in FILES.items():
        name = name.replace("/", "-").replace(" ", "-")
        flipped = bytearray(data)
        for _ in range(20):
            flipped[chance.randrange(len(data))] = chance.randrange(256)
        cut = data[: chance.randrange(1, len(data))]
        for kind, content in (("whole", data), ("cut", cut), ("flipped", bytes(flipped))):
            (source / f"{name}.{kind}.jpg").write_bytes(content)
    (source / "bomb.png").write_bytes(png((50_000, 50_000), depth=8, color=2, chunks=[]))
    (source / "empty.png").touch()
    (source / "text.png").write_text("<html>")
    with (source / "large.png").open("wb") as file:
        file.truncate(LIMITS.max_bytes + 1)
    (source / "nowhere.png").symlink_to(source / "nothing")
    os.mkfifo(source / "pipe.png")
    scan(source, tmp_path / "out")
    found = rows(tmp_path / "out")
    assert set(found) == {path.name for path in source.iterdir()}
    assert len(found) == 3 * len(FILES) + 6
    kinds = {name: row["error_kind"] for name, row in found.items()}
    assert kinds["bomb.png"] in {"too_many_pixels", "corrupt", "truncated"}
    assert (kinds["empty.png"], kinds["large.png"]) == ("empty", "too_large")
    assert (kinds["text.png"], kinds["nowhere.png"]) == ("not_an_image", "missing")
    assert kinds["pipe.png"] == "unreadable"
    for row in found.values():
        is_error = row["error_kind"] is not None
        assert (row["action"] == "unavailable") is is_error
        assert (row["nsfw_score"] is None) is is_error
        assert (row["error_message"] is not None) is is_error
    errors = sum(row["error_kind"] is not None for row in found.values())
    assert sum(ScanRecord.read(tmp_path / "out").counts.errors.values()) == errors
    assert not {"failed"} & set(kinds.values())


def test_memory_does_not_grow_with_the_number_of_images() -> None:
    """Rows are in memory for parts in flight only."""
    (peak, python), (later_peak, later_python) = run_script(MEMORY)
    assert later_peak - peak < MAX_GROWTH_MB
    assert later_python - python < MAX_PYTHON_GROWTH_MB
