"""Damaged and hostile containers: each image that is there is read, each other one is an error."""

import gzip
import io
import lzma
import os
import struct
import tarfile
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from nsfw_app.datasets.left_out import LeftOut, LeftOutFiles
from nsfw_app.datasets.reading import Reader
from nsfw_app.errors import ImageError
from tests.unit.test_sources import LIMITS, entries, outcome, parts, tarred, zipped

MEMBERS = [(f"{number}.jpg", bytes([number]) * 2_000) for number in range(1, 8)]
MANY = 100_000


@pytest.fixture
def reader() -> Iterator[Reader]:
    """A reader of images up to 100 kB."""
    with Reader(LIMITS) as reader:
        yield reader


def test_a_truncated_zip_is_one_error(tmp_path: Path, reader: Reader) -> None:
    """Its directory is at the end."""
    path = zipped(tmp_path / "x.zip", dict(MEMBERS))
    path.write_bytes(path.read_bytes()[:-30])
    (entry,) = entries(path)
    with pytest.raises(ImageError, match=r"x\.zip cannot be opened as a zip archive") as caught:
        reader.read(entry)
    assert caught.value.kind == "unreadable"
    assert entry.uri == str(path)


def test_damage_in_a_zip_is_an_error_of_its_member(tmp_path: Path, reader: Reader) -> None:
    """A checksum, a header and data that are wrong; the others are read."""
    path = zipped(tmp_path / "x.zip", dict(MEMBERS), zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        offsets = [member.header_offset for member in archive.infolist()]
    data[offsets[1] + 500] ^= 1
    data[offsets[3]] ^= 1
    path.write_bytes(data)
    found = [outcome(reader, entry) for entry in entries(path)]
    expected: list[bytes | str] = [content for _, content in MEMBERS]
    expected[1] = expected[3] = "corrupt"
    assert found == expected


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_every_damaged_byte_is_a_typed_error(tmp_path: Path, reader: Reader, method: int) -> None:
    """For each way to compress."""
    path = zipped(tmp_path / "x.zip", {"a.jpg": os.urandom(40) * 3}, method)
    data = path.read_bytes()
    for position in range(0, len(data), 3):
        path.write_bytes(data[:position] + bytes([data[position] ^ 0x55]) + data[position + 1 :])
        for entry in entries(path):
            assert outcome(reader, entry)


def test_encrypted_members_are_errors_of_their_own(tmp_path: Path, reader: Reader) -> None:
    """One row for each, that says what to do; members that are not encrypted are read."""
    path = zipped(tmp_path / "x.zip", dict(MEMBERS[:2]))
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # a flag in the directory
    path.write_bytes(data)
    encrypted, plain = entries(path)
    with pytest.raises(ImageError, match=r"1\.jpg is encrypted\. Extract the archive") as caught:
        reader.read(encrypted)
    assert caught.value.kind == "encrypted"
    assert reader.read(plain) == MEMBERS[1][1]


def test_an_unknown_compression_is_an_error(tmp_path: Path, reader: Reader) -> None:
    """Its number is in the message."""
    path = zipped(tmp_path / "x.zip", dict(MEMBERS[:1]))
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 10] = 99
    path.write_bytes(data)
    (entry,) = entries(path)
    with pytest.raises(ImageError, match="compressed by method 99"):
        reader.read(entry)


def test_a_member_with_long_fields_is_read(tmp_path: Path, reader: Reader) -> None:
    """Extra fields in its header that are longer than usual."""
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("a.jpg")
        info.extra = struct.pack("<HH", 0x4341, 5_000) + bytes(5_000)
        archive.writestr(info, b"content")
    (entry,) = entries(path)
    assert reader.read(entry) == b"content"


def test_a_zip_bomb_is_not_inflated(tmp_path: Path, reader: Reader) -> None:
    """One that states its size, and one that states another."""
    path = zipped(tmp_path / "x.zip", {"a.jpg": bytes(50_000_000), "b.jpg": b"b"})
    data = bytearray(path.read_bytes())
    honest = entries(path)
    lying = tmp_path / "y.zip"
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = struct.pack("<I", 99_999)
    lying.write_bytes(data)
    tracemalloc.start()
    assert [outcome(reader, entry) for entry in honest] == ["too_large", b"b"]
    assert [outcome(reader, entry) for entry in entries(lying)] == ["corrupt", b"b"]
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("compressed", [False, True])
def test_a_truncated_tar_keeps_its_first_members(
    tmp_path: Path, reader: Reader, compressed: bool
) -> None:
    """The member that is cut is an error, and the archive another one."""
    data = tarred(MEMBERS)[: 3 * (512 + 2_048) + 1_000]
    path = tmp_path / ("x.tar.gz" if compressed else "x.tar")
    path.write_bytes(gzip.compress(data) if compressed else data)
    found = entries(path)
    assert [outcome(reader, entry) for entry in found] == [
        *(content for _, content in MEMBERS[:3]),
        "truncated",
        "unreadable",
    ]
    assert found[-1].uri == str(path)
    with pytest.raises(ImageError, match="is damaged after 4 members"):
        reader.read(found[-1])


def test_a_truncated_gzip_keeps_its_first_members(tmp_path: Path, reader: Reader) -> None:
    """As much as can be decompressed."""
    members = [(name, os.urandom(2_000)) for name, _ in MEMBERS]
    path = tmp_path / "x.tgz"
    path.write_bytes(gzip.compress(tarred(members))[:9_000])
    found = [outcome(reader, entry) for entry in entries(path)]
    assert found[:4] == [content for _, content in members[:4]]
    assert found[4:] == ["unreadable"] * 2


def test_a_damaged_header_is_not_the_end_of_a_tar(tmp_path: Path, reader: Reader) -> None:
    """What follows it is not left out silently."""
    data = bytearray(tarred(MEMBERS))
    data[2 * (512 + 2_048) + 20] ^= 1
    path = tmp_path / "x.tar"
    path.write_bytes(data)
    found = [outcome(reader, entry) for entry in entries(path)]
    assert found == [MEMBERS[0][1], MEMBERS[1][1], "unreadable"]


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.xz"])
@pytest.mark.parametrize("size", [512, 1_024, 512 + 2_048])
def test_a_header_of_zeros_is_not_the_end_of_a_tar(
    tmp_path: Path, reader: Reader, suffix: str, size: int
) -> None:
    """A hole in a copy: of a header, of more, of the whole member."""
    data, start = bytearray(tarred(MEMBERS)), 2 * (512 + 2_048)
    data[start : start + size] = bytes(size)
    path = tmp_path / f"x{suffix}"
    compress = {".tar": bytes, ".tar.gz": gzip.compress, ".tar.xz": lzma.compress}[suffix]
    path.write_bytes(compress(data))
    found = entries(path)
    assert [outcome(reader, entry) for entry in found] == [
        MEMBERS[0][1],
        MEMBERS[1][1],
        "unreadable",
    ]
    with pytest.raises(ImageError, match="after 2 members: zeros where a header should be"):
        reader.read(found[-1])


@pytest.mark.parametrize("first", [0, 5])
def test_the_rest_of_a_tar_that_was_never_written(
    tmp_path: Path, reader: Reader, first: int
) -> None:
    """Space was reserved for a download that did not end: zeros are not taken for the end."""
    path = tmp_path / "x.tar"
    path.write_bytes(tarred(MEMBERS)[: first * (512 + 2_048)])
    os.truncate(path, 20_000_000)
    found = [outcome(reader, entry) for entry in entries(path)]
    assert found == [*(content for _, content in MEMBERS[:first]), "unreadable"]


def test_an_appended_tar_is_not_left_out_silently(tmp_path: Path, reader: Reader) -> None:
    """An entry says that more data follows."""
    path = tmp_path / "x.tar"
    path.write_bytes(tarred(MEMBERS[:2]) + tarred(MEMBERS[2:]))
    found = entries(path)
    with pytest.raises(ImageError, match=r"damaged after 2 members: .* and data after them"):
        reader.read(found[-1])
    assert len(found) == 3


@pytest.mark.parametrize("suffix", [".tar", ".tgz"])
@pytest.mark.parametrize("padding", [0, 512, 1_024, 10_240, 2**20])
def test_a_tar_may_end_with_zeros(
    tmp_path: Path, reader: Reader, suffix: str, padding: int
) -> None:
    """None, a block, and a record of any usual size."""
    data = tarred(MEMBERS)[: len(MEMBERS) * (512 + 2_048)] + bytes(padding)
    path = tmp_path / f"x{suffix}"
    path.write_bytes(data if suffix == ".tar" else gzip.compress(data))
    assert [outcome(reader, entry) for entry in entries(path)] == [data for _, data in MEMBERS]


@pytest.mark.parametrize("data", [b"", b"x" * 10_000, b"\0" * 511, b"\x1f\x8b\x08"])
def test_a_file_that_is_no_archive_is_one_error(
    tmp_path: Path, reader: Reader, data: bytes
) -> None:
    """Of each kind."""
    for suffix in (".tar", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".zip", ".parquet"):
        path = tmp_path / f"x{suffix}"
        path.write_bytes(data)
        assert [outcome(reader, entry) for entry in entries(path)] == ["unreadable"], suffix


def test_a_tar_bomb_is_not_inflated(tmp_path: Path, reader: Reader) -> None:
    """It is listed up to the ratio only."""
    compressor = zlib.compressobj(wbits=31)
    path = tmp_path / "x.tar.gz"
    header = tarfile.TarInfo("b.jpg")
    header.size = 2_000_000_000
    with path.open("wb") as file:
        file.write(compressor.compress(tarred(MEMBERS[:1])[: 512 + 2_048] + header.tobuf()))
        for _ in range(300):
            file.write(compressor.compress(bytes(1_000_000)))
        file.write(compressor.flush())
    found = entries(path)
    assert [outcome(reader, entry) for entry in found] == [
        MEMBERS[0][1],
        "too_large",
        "unreadable",
    ]
    with pytest.raises(ImageError, match="grows more than 200 times"):
        reader.read(found[-1])


def test_a_header_of_a_tar_is_not_read_at_any_size(tmp_path: Path, reader: Reader) -> None:
    """An attribute of several megabytes, which tarfile would read whole."""
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 3_000_000
    path = tmp_path / "x.tar"
    path.write_bytes(header.tobuf() + bytes(3_000_320))
    (entry,) = entries(path)
    with pytest.raises(ImageError, match="a header of 3,000,320 bytes is too large"):
        reader.read(entry)


def test_links_and_devices_are_no_members(tmp_path: Path) -> None:
    """They are counted."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for number, kind in enumerate((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE)):
            info = tarfile.TarInfo(f"{number}.jpg")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    (tmp_path / "x.tar").write_bytes(buffer.getvalue())
    left_out = LeftOutFiles()
    assert entries(tmp_path, left_out=left_out) == []
    assert left_out.counts == {LeftOut.LINK: 3}


def test_a_container_that_changes_is_not_read(tmp_path: Path, reader: Reader) -> None:
    """Its members were at other places."""
    path = zipped(tmp_path / "x.zip", dict(MEMBERS))
    found = entries(path)
    zipped(path, {"a.jpg": b"other"})
    with pytest.raises(ImageError, match="has changed since it was listed"):
        reader.read(found[0])


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_many_members_are_listed_in_time(tmp_path: Path, reader: Reader, kind: str) -> None:
    """100,000 of them, in parts that are not all in memory; two of them are read."""
    path = tmp_path / f"x.{kind}"
    members = ((f"{number:06}.jpg", b"%d" % number) for number in range(MANY))
    if kind == "zip":
        zipped(path, dict(members), zipfile.ZIP_STORED)
    else:
        with path.open("wb") as file:
            for name, data in members:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                file.write(info.tobuf() + data.ljust(512, b"\0"))
    started = time.monotonic()
    found = parts(path)
    elapsed_s = time.monotonic() - started
    assert sum(len(part.entries) for part in found) == MANY
    assert [reader.read(found[k].entries[7]) for k in (0, 99)] == [b"7", b"99007"]
    assert elapsed_s < 60  # about 4 s on an idle core
