"""The memory of `filter` does not grow with the number of rows."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = 10_000
PART = 2_000
# Writes the parts of a scan, then filters them; prints the most memory that the filter took.
PROGRAM = """
import json, random, sys, tracemalloc
from pathlib import Path
import pyarrow as pa
from nsfw_app.datasets.filter_formats import FilterFormat
from nsfw_app.datasets.filtered_images import write_rows
from nsfw_app.datasets.filtering import Criteria, RowFilter
from nsfw_app.datasets.image_table import schema
from nsfw_app.datasets.part_files import PartFiles
from nsfw_app.datasets.scanned_parts import ScannedParts
from tests.support.scans import POLICY, record

directory, count, part, kind = Path(sys.argv[1]), *map(int, sys.argv[2:4]), sys.argv[4]
directory.mkdir()
record(directory).write(directory)
files = PartFiles(directory, ("normal", "nsfw"))
files.create()
for start in range(0, count, part):
    numbers = range(start, start + part)
    files.write(f"{start:024}", [
        {
            "uri": f"/images/{number:09}.png", "name": f"{number:09}.png", "version": "1-1",
            "sha256": f"{number:064x}", "nsfw_score": 0.1,
            "perceptual_hash": random.randbytes(200).hex(),
            "warnings": [], "model": "fake", "format": "PNG", "error_kind": None,
            "detail_error_kind": None,
        }
        for number in numbers
    ])
restricted = {f"{number:064x}": random.randbytes(200).hex() for number in range(5)}
criteria = Criteria(policy=POLICY, is_unique=True, restricted=restricted)
tracemalloc.start()
with RowFilter(criteria) as rows:
    parts, output = ScannedParts(directory), directory.parent / f"{count}.{kind}"
    write_rows(parts, rows, output=output, kind=FilterFormat(kind), restricted=lambda: restricted)
assert rows.counts.kept > 0.9 * count
python = tracemalloc.get_traced_memory()[1]
print(json.dumps({"python": python, "arrow": pa.default_memory_pool().max_memory()}))
"""


def peak(directory: Path, count: int, kind: str) -> dict[str, int]:
    """The most bytes of Python's objects and of Arrow's tables for so many rows."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, directory / f"scan-{count}", str(count), str(PART), kind],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    found: dict[str, int] = json.loads(ended.stdout)
    return found


@pytest.mark.parametrize("kind", ["list", "parquet"])
def test_memory_is_flat(tmp_path: Path, kind: str) -> None:
    """Four times the rows, the same memory; a set of their hashes alone would take 4 MB more."""
    few, many = (peak(tmp_path, count, kind) for count in (ROWS, 4 * ROWS))
    assert many["python"] < few["python"] + 1_500_000
    assert many["arrow"] < few["arrow"] + 1_500_000
