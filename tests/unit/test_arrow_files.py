"""Arrow files: data sets of Hugging Face's `save_to_disk`, both formats, damage."""

import io
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import datasets
import fsspec
import pyarrow as pa
import pytest

from nsfw_app.datasets import arrow_files
from nsfw_app.datasets.left_out import LeftOut, LeftOutFiles
from nsfw_app.datasets.reading import Reader
from nsfw_app.errors import ImageError
from tests.support.fakes import image_bytes
from tests.unit.test_sources import LIMITS, entries, outcome

IMAGES = [bytes([number]) * (100 + number) for number in range(100)]
BATCH = 30  # rows


@pytest.fixture
def reader() -> Iterator[Reader]:
    """A reader of images up to 100 kB."""
    with Reader(LIMITS) as reader:
        yield reader


def arrow(images: list[bytes | None], *, kind: str = "stream", name: str = "image") -> bytes:
    """An Arrow file with a column of bytes."""
    sink = io.BytesIO()
    table = pa.table({name: pa.array(images, pa.binary()), "id": list(range(len(images)))})
    new = pa.ipc.new_stream if kind == "stream" else pa.ipc.new_file
    with new(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=BATCH)
    return sink.getvalue()


def test_data_sets_that_were_saved_to_disk_are_read(tmp_path: Path, reader: Reader) -> None:
    """Each row of each split; descriptions and caches next to them are left out."""
    images = [image_bytes(red) for red in range(0, 120, 10)]
    rows = {"image": [{"bytes": data, "path": None} for data in images], "label": [0, 1] * 6}
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    made = datasets.Dataset.from_dict(rows, features=features)
    parts = {"train": made.select(range(9)), "test": made.select(range(9, 12))}
    saved = datasets.DatasetDict(parts)
    saved.save_to_disk(tmp_path / "set", num_shards={"train": 2, "test": 1})
    (tmp_path / "set" / "train" / "cache-0a1b.arrow").write_bytes(b"computed")
    left_out = LeftOutFiles()
    found = entries(tmp_path / "set", left_out=left_out)
    test, *train = [
        f"data-{n}.arrow" for n in ("00000-of-00001", "00000-of-00002", "00001-of-00002")
    ]
    uris = [f"{tmp_path}/set/test/{test}#{row}" for row in range(3)]
    uris += [f"{tmp_path}/set/train/{train[0]}#{row}" for row in range(5)]
    uris += [f"{tmp_path}/set/train/{train[1]}#{row}" for row in range(4)]
    assert [entry.uri for entry in found] == uris
    assert [reader.read(entry) for entry in found] == [*images[9:], *images[:9]]
    assert set(left_out.counts) == {LeftOut.NAME}


@pytest.mark.parametrize("kind", ["stream", "file"])
def test_rows_are_read_by_threads_and_in_any_order(tmp_path: Path, kind: str) -> None:
    """Nearly in order as a scan reads them, backward, and with a small window."""
    (tmp_path / "x.arrow").write_bytes(arrow(list(IMAGES), kind=kind))
    found = entries(tmp_path / "x.arrow")
    with Reader(LIMITS) as reader, ThreadPoolExecutor(8) as threads:
        assert list(threads.map(reader.read, found)) == IMAGES
    with pytest.MonkeyPatch.context() as patch, Reader(LIMITS) as reader:
        patch.setattr(arrow_files, "WINDOW_BYTES", 1_000)
        assert [reader.read(entry) for entry in reversed(found)] == IMAGES[::-1]


def test_remote_files_are_read(reader: Reader) -> None:
    """Through fsspec, without a mapping."""
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/arrow-files/x.arrow", arrow(list(IMAGES)))
    found = entries("memory://arrow-files/x.arrow")
    assert [reader.read(entry) for entry in found] == IMAGES


def test_bytes_that_are_missing_or_too_large(tmp_path: Path, reader: Reader) -> None:
    """Are errors of their rows; the others are read."""
    large = bytes(LIMITS.max_bytes + 1)
    (tmp_path / "x.arrow").write_bytes(arrow([b"1", None, b"", large, b"5"], name="anything"))
    found = [outcome(reader, entry) for entry in entries(tmp_path / "x.arrow")]
    assert found == [b"1", "empty", "empty", "too_large", b"5"]


def test_paths_are_relative_to_the_file(tmp_path: Path, reader: Reader) -> None:
    """In place of bytes, and in a column of text."""
    (tmp_path / "a.jpg").write_bytes(b"file")
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    cells = [{"bytes": None, "path": "a.jpg"}, {"bytes": b"own", "path": "b.jpg"}]
    for name, column in (("x", pa.array(cells, struct)), ("y", pa.array(["a.jpg", "c.jpg"]))):
        table = pa.table({"image": column})
        with pa.ipc.new_stream(tmp_path / f"{name}.arrow", table.schema) as writer:
            writer.write_table(table)
    assert [outcome(reader, e) for e in entries(tmp_path / "x.arrow")] == [b"file", b"own"]
    assert [outcome(reader, e) for e in entries(tmp_path / "y.arrow")] == [b"file", "missing"]


@pytest.mark.parametrize("data", [b"", b"no", b"ARROW1" + bytes(50), bytes(100)])
def test_other_files_are_one_error(tmp_path: Path, reader: Reader, data: bytes) -> None:
    """It says what the file is not."""
    (tmp_path / "x.arrow").write_bytes(data)
    (entry,) = entries(tmp_path / "x.arrow")
    with pytest.raises(ImageError, match="cannot be opened as an Arrow file") as caught:
        reader.read(entry)
    assert caught.value.kind == "unreadable"


def test_a_table_without_images_is_one_error(tmp_path: Path, reader: Reader) -> None:
    """The message has its columns."""
    table = pa.table({"id": [1], "caption": ["a"]})
    with pa.ipc.new_stream(tmp_path / "x.arrow", table.schema) as writer:
        writer.write_table(table)
    (entry,) = entries(tmp_path / "x.arrow")
    with pytest.raises(ImageError, match=r"no column of images.*id \(int64\), caption"):
        reader.read(entry)


def test_a_truncated_file_keeps_its_first_rows(tmp_path: Path, reader: Reader) -> None:
    """A last entry says that there were more."""
    data = arrow(list(IMAGES))
    (tmp_path / "x.arrow").write_bytes(data[: len(data) * 2 // 3])
    found = [outcome(reader, entry) for entry in entries(tmp_path / "x.arrow")]
    assert found[: 2 * BATCH] == IMAGES[: 2 * BATCH]
    assert found[2 * BATCH :] == ["unreadable"]


@pytest.mark.parametrize("url", [False, True])
def test_a_header_of_zeros_is_not_the_end(tmp_path: Path, reader: Reader, url: bool) -> None:
    """What follows it is not left out silently, and neither is a stream that was appended."""
    data = arrow(list(IMAGES))
    second = [at for at in range(0, len(data), 8) if data[at : at + 4] == b"\xff" * 4][2]
    hole = data[:second] + bytes(8) + data[second + 8 :]
    for name, damaged, rows in (("hole", hole, BATCH), ("appended", data + data, len(IMAGES))):
        place = f"memory://arrow-files/{name}.arrow" if url else str(tmp_path / f"{name}.arrow")
        with fsspec.open(place, "wb") as file:
            file.write(damaged)
        found = entries(place)
        assert [outcome(reader, entry) for entry in found] == [*IMAGES[:rows], "unreadable"]
        with pytest.raises(ImageError, match="is damaged: data follows the end of the stream"):
            reader.read(found[-1])


@pytest.mark.parametrize("kind", ["stream", "file"])
def test_damaged_bytes_never_end_the_process(tmp_path: Path, kind: str) -> None:
    """Offsets that point outside of the file are noticed before they are followed."""
    data, chance = arrow(list(IMAGES[:40]), kind=kind), random.Random(5)
    path = tmp_path / "x.arrow"
    for _ in range(300):
        damaged = bytearray(data)
        for _ in range(chance.choice([1, 3, 20])):
            damaged[chance.randrange(len(damaged))] = chance.choice([0, 1, 127, 255])
        path.write_bytes(damaged)
        with Reader(LIMITS) as reader:
            for entry in entries(path):
                outcome(reader, entry)
