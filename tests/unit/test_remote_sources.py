"""Sources by URL: the memory file system of fsspec, servers of S3, Google Cloud and files."""

import io
import json
import os
import random
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import gcsfs
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import s3fs
from fsspec.spec import AbstractFileSystem
from gcp_storage_emulator.server import create_server
from moto.server import ThreadedMotoServer

from nsfw_app.dataset_errors import ImagesLost, SourceError
from nsfw_app.datasets.left_out import LeftOut, LeftOutFiles
from nsfw_app.datasets.locations import redacted
from nsfw_app.datasets.reading import Reader
from nsfw_app.datasets.scan import Redo
from nsfw_app.datasets.units import find_units
from nsfw_app.errors import ImageError
from tests.support.dataset_hub import dataset_hub
from tests.support.fakes import image_bytes
from tests.support.range_server import RangeServer, range_server
from tests.support.scans import CountingClassifier, rows, scan_all
from tests.unit.test_sources import LIMITS, entries, outcome, tarred, zipped

IMAGES = {f"in/{number}.jpg": random.Random(number).randbytes(2_000) for number in range(20)}
Store = Callable[[str, bytes], str]


@pytest.fixture
def reader() -> Iterator[Reader]:
    """A reader of images up to 100 kB."""
    with Reader(LIMITS) as reader:
        yield reader


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    """The URL of an S3 server."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def gs_server() -> Iterator[str]:
    """The URL of a server of Google Cloud Storage."""
    server = create_server("127.0.0.1", 0, in_memory=True)
    server.start()
    yield "http://{}:{}".format(*server._api._httpd.server_address)
    server.stop()


@pytest.fixture
def web() -> Iterator[RangeServer]:
    """A web server."""
    with range_server() as server:
        yield server


@pytest.fixture(params=["memory", "s3", "gs", "web"])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """Stores a file at a path, and returns its URL."""
    if request.param == "web":
        server: RangeServer = request.getfixturevalue("web")

        def put(path: str, data: bytes) -> str:
            server.files[f"/{path}"] = data
            return f"{server.url}/{path}"

        yield put
        return
    if request.param == "s3":
        monkeypatch.setenv("AWS_ENDPOINT_URL", request.getfixturevalue("s3_server"))
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key-of-the-environment")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        s3fs.S3FileSystem.clear_instance_cache()
        system, root = s3fs.S3FileSystem(use_listings_cache=False), "s3://bucket"
        system.mkdir("bucket")
    elif request.param == "gs":
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", request.getfixturevalue("gs_server"))
        monkeypatch.setenv("NO_GCE_CHECK", "true")  # else another machine is asked for credentials
        monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        gcsfs.GCSFileSystem.clear_instance_cache()
        system, root = gcsfs.GCSFileSystem(use_listings_cache=False), "gs://bucket"
        system.mkdir("bucket")
    else:
        system, root = fsspec.filesystem("memory"), "memory://bucket"

    def pipe(path: str, data: bytes) -> str:
        system.pipe_file(f"{root}/{path}", data)
        return f"{root}/{path}"

    yield pipe
    system.rm(root, recursive=True)


def parquet(images: list[bytes]) -> bytes:
    """A Parquet file."""
    sink = io.BytesIO()
    pq.write_table(pa.table({"image": images}), sink, row_group_size=7)
    return sink.getvalue()


def test_directories_are_searched(store: Store, reader: Reader) -> None:
    """By the rules of local directories; each file has the version that the server states."""
    urls = [store(f"set/{name}", data) for name, data in IMAGES.items()]
    for name in ("set/.hidden.jpg", "set/notes.txt", "set/.git/x.jpg", "set/empty.jpg"):
        store(name, b"" if "empty" in name else b"x")
    paths = io.BytesIO()
    pq.write_table(pa.table({"uri": ["in/0.jpg"]}), paths)
    store("set/kept.parquet", paths.getvalue())
    left_out = LeftOutFiles()
    root = urls[0].removesuffix("in/0.jpg")
    found = entries(root, left_out=left_out)
    assert [entry.uri for entry in found] == [f"{root}empty.jpg", *sorted(urls)]
    assert len({entry.version for entry in found} - {""}) == 21
    by_uri = {entry.uri: outcome(reader, entry) for entry in found}
    assert by_uri.pop(f"{root}empty.jpg") == "empty"
    assert by_uri == dict(zip(urls, IMAGES.values(), strict=True))
    assert left_out.counts == {LeftOut.HIDDEN: 2, LeftOut.NAME: 1, LeftOut.PATHS: 1}


@pytest.mark.parametrize("kind", ["zip", "tar", "parquet"])
def test_containers_are_read_by_threads(store: Store, tmp_path: Path, kind: str) -> None:
    """Each kind on each file system."""
    data = {
        "zip": lambda: zipped(tmp_path / "x.zip", IMAGES).read_bytes(),
        "tar": lambda: tarred(list(IMAGES.items())),
        "parquet": lambda: parquet(list(IMAGES.values())),
    }[kind]()
    url = store(f"x.{kind}", data)
    found = entries(url)
    assert found[3].uri == (f"{url}#3" if kind == "parquet" else f"{kind}://in/3.jpg::{url}")
    with Reader(LIMITS) as reader, ThreadPoolExecutor(4) as threads:
        assert list(threads.map(reader.read, found)) == list(IMAGES.values())


def test_tables_name_files_relative_to_themselves(
    store: Store, reader: Reader, tmp_path: Path
) -> None:
    """And by URL; none of them names a file of this machine."""
    here = store("set/a b.jpg", b"here")
    store("set/in/c.jpg", b"deeper")
    rows = ["a b.jpg", "in/c.jpg", "../set/a b.jpg", here, "file:///etc/passwd", "/etc/passwd"]
    (tmp_path / "x.jpg").write_bytes(b"this machine")
    archive = zipped(tmp_path / "x.zip", {"a.jpg": b"this machine"})
    rows += [f"local://{tmp_path}/x.jpg", f"zip://a.jpg::local://{archive}"]
    rows += [f"{cache}::file://{tmp_path}/x.jpg" for cache in ("simplecache", "filecache")]
    table = store("set/x.jsonl", "".join(json.dumps({"path": r}) + "\n" for r in rows).encode())
    assert [outcome(reader, entry) for entry in entries(table)] == [
        b"here",
        b"deeper",
        b"here",
        b"here",
        "unreadable",
        "missing",
        *["unreadable"] * 4,
    ]


@pytest.mark.parametrize("name", ["missing.jpg", "missing.zip", "missing", "@missing.txt"])
def test_a_source_that_does_not_exist_is_an_error(store: Store, name: str) -> None:
    """It is raised before anything is listed, so that no results are removed for it."""
    url = store("x.jpg", b"x").replace("x.jpg", name.removeprefix("@"))
    with pytest.raises(SourceError, match="does not exist"):
        find_units([f"@{url}" if name.startswith("@") else url], left_out=LeftOutFiles())


def test_a_server_that_is_down_is_no_missing_file() -> None:
    """The error says that it cannot be reached."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]  # and nothing listens there any more
    with pytest.raises(SourceError, match=r"ok\.zip .*server cannot be reached"):
        find_units([f"http://127.0.0.1:{port}/ok.zip"], left_out=LeftOutFiles())


def test_missing_and_large_files_are_typed_errors(store: Store, reader: Reader) -> None:
    """In a list; one over the limit is not fetched whole."""
    large = store("large.jpg", bytes(LIMITS.max_bytes + 1))
    urls = store("list.txt", f"{large}\nmissing.jpg\nmissing.zip\n".encode())
    kinds = [outcome(reader, entry) for entry in entries(f"@{urls}")]
    assert sorted(kinds) == ["missing", "missing", "too_large"]


def test_datasets_of_the_hugging_face_hub_are_read(tmp_path: Path) -> None:
    """Their files, archives and Parquet files, in a process that has the hub's address."""
    members = list(IMAGES.items())[:3]
    files = {
        "README.md": b"# A dataset",
        "data/a.jpg": b"one",
        "data/b.tar": tarred(members),
        "data/train-00000-of-00001.parquet": parquet([data for _, data in members]),
    }
    program = """
import sys
from nsfw_app.datasets.reading import Reader
from nsfw_app.datasets.scan import Redo
from nsfw_app.datasets.units import find_units, parts_of
from tests.unit.test_sources import LIMITS, LeftOutFiles
with Reader(LIMITS) as reader:
    for unit in find_units(sys.argv[1:], left_out=LeftOutFiles()):
        for part in parts_of(unit):
            for entry in part.entries:
                print(entry.uri, reader.read(entry)[:4].hex())
"""
    with dataset_hub(files) as hub:
        environment = {
            **os.environ,
            "HF_ENDPOINT": hub.url,
            "HF_HUB_OFFLINE": "0",
            "HF_HOME": str(tmp_path),
        }
        done = subprocess.run(
            [sys.executable, "-c", program, "hf://datasets/org/name"],
            env=environment,
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    root = "hf://datasets/org/name/data"
    expected = [f"tar://{name}::{root}/b.tar {data[:4].hex()}" for name, data in members]
    for row, (_, data) in enumerate(members):
        expected.append(f"{root}/train-00000-of-00001.parquet#{row} {data[:4].hex()}")
    expected.append(f"{root}/a.jpg {b'one'.hex()}")
    assert done.stdout.splitlines() == expected, done.stderr


def test_only_bytes_of_the_member_are_fetched(web: RangeServer, tmp_path: Path) -> None:
    """Of a large zip and a large tar, its directory or headers, and the member itself."""
    noise = random.Random(1).randbytes(9_000_000)
    members = {"video.mp4": noise, "a.jpg": b"image" * 1_000, "video2.mp4": noise}
    web.files["/x.zip"] = zipped(tmp_path / "x.zip", members, zipfile.ZIP_STORED).read_bytes()
    web.files["/x.tar"] = tarred(list(members.items()))
    with Reader(LIMITS) as reader:
        for name in ("x.zip", "x.tar"):
            (entry,) = entries(f"{web.url}/{name}")
            listed = web.sent_bytes.get(f"/{name}", 0)
            assert listed < 4_000_000
            assert reader.read(entry) == members["a.jpg"]
            assert web.sent_bytes[f"/{name}"] - listed < 6_000


@pytest.mark.parametrize("bytes_missing", [False, True])
def test_of_a_table_the_paths_are_fetched(
    web: RangeServer, reader: Reader, bytes_missing: bool
) -> None:
    """For the list, and only of row groups that lack bytes; not the bytes of the others."""
    content = random.Random(1).randbytes(LIMITS.max_bytes)
    cells = [{"bytes": content, "path": "a.jpg"}] * 90
    cells += [{"bytes": None if bytes_missing else content, "path": "a.jpg"}] * 10
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    sink = io.BytesIO()
    table = pa.table({"image": pa.array(cells, kind)})
    pq.write_table(table, sink, row_group_size=10, use_dictionary=False, compression="none")
    web.files |= {"/in/x.parquet": sink.getvalue(), "/in/a.jpg": b"file"}
    found = entries(f"{web.url}/in/x.parquet")
    assert len(found) == 100
    assert web.sent_bytes["/in/x.parquet"] < 2_500_000 < len(sink.getvalue()) / 3
    assert reader.read(found[99]) == (b"file" if bytes_missing else content)
    assert bool(found[99].size) is bytes_missing


def test_a_file_over_the_limit_is_not_fetched(web: RangeServer, reader: Reader) -> None:
    """Its size is known before."""
    web.files["/x.jpg"] = bytes(50_000_000)
    (entry,) = entries(f"{web.url}/x.jpg")
    assert outcome(reader, entry) == "too_large"
    assert not web.sent_bytes


def test_a_server_without_ranges_gives_files_but_no_members(
    web: RangeServer, reader: Reader
) -> None:
    """The error of a container says what to do; a list is read as a whole."""
    web.has_ranges = False
    web.files |= {"/x.jpg": b"x", "/x.tar": tarred([("a.jpg", b"x")])}
    web.files["/list.txt"] = b"x.jpg\nx.tar\n"
    container, image = sorted(entries(f"@{web.url}/list.txt"), key=lambda e: e.problem is None)
    assert reader.read(image) == b"x"
    with pytest.raises(ImageError, match="does not support range requests") as caught:
        reader.read(container)
    assert caught.value.kind == "unreadable"


def test_a_changed_file_has_another_version(store: Store) -> None:
    """An ETag, or the time of modification."""
    url = store("x.jpg", b"one")
    (before,) = entries(url)
    store("x.jpg", b"two")
    (after,) = entries(url)
    assert before.version != after.version


def test_a_server_that_states_the_size_only(web: RangeServer, tmp_path: Path) -> None:
    """A changed size is a change, and most images lost are a server that is not reached."""
    web.has_tags = False
    urls = [f"{web.url}/{number}.png" for number in range(5)]
    web.files |= {f"/{number}.png": image_bytes(number) for number in range(5)}
    (tmp_path / "list.txt").write_text("\n".join(urls))
    named, output = [Path(f"@{tmp_path}/list.txt")], tmp_path / "out"
    scan_all(named, output)
    before = rows(output)
    assert all(row["version"] == str(row["size_bytes"]) for row in before.values())
    assert not any(part.is_new for part in scan_all(named, output)[1])
    web.files["/3.png"] = image_bytes(200) + bytes(50)
    classifier = CountingClassifier()
    scan_all(named, output, classifier=classifier)
    assert classifier.reds == [200]
    after, web.files = rows(output), {}
    with pytest.raises(ImagesLost, match="5 of 5 images"):
        scan_all(named, output)
    assert rows(output) == after
    scan_all(named, output, Redo.LOST)
    assert {row["error_kind"] for row in rows(output).values()} == {"missing"}


@pytest.mark.parametrize(
    "key", ["modify", "modificationTime", "mtime", "sha", "Content-MD5", "Digest"]
)
def test_file_systems_name_what_changes(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of fsspec for FTP, WebHDFS, SMB, GitHub and the web; FTP states sizes as text."""

    class Named(AbstractFileSystem):
        protocol = "named"
        value = "20261130010203"

        def info(self, path: str, **_: object) -> dict[str, object]:
            return {"name": path, "type": "file", "size": "70", key: self.value}

    fsspec.register_implementation("named", Named, clobber=True)
    (before,) = entries("named://in/x.jpg")
    monkeypatch.setattr(Named, "value", "20261130010204")
    (after,) = entries("named://in/x.jpg")
    assert before.size == after.size == 70
    assert before.version != after.version


def test_passwords_are_used_and_not_shown(web: RangeServer, reader: Reader) -> None:
    """Neither in uris nor in messages, as are signatures of URLs."""
    web.password = "anna:secret"
    web.files |= {"/a.jpg": b"x", "/x.tar": tarred([("a.jpg", b"x")])}
    url = web.url.replace("http://", "http://anna:secret@")
    found = entries(f"{url}/a.jpg", f"{url}/x.tar?X-Amz-Signature=secret&id=1")
    assert [entry.uri for entry in found] == [
        f"tar://a.jpg::{web.url}/x.tar?id=1",
        f"{web.url}/a.jpg",
    ]
    assert [reader.read(entry) for entry in found] == [b"x", b"x"]
    (entry,) = entries(f"{url}/a.jpg?token=secret")
    web.password = "other:secret2"
    with pytest.raises(ImageError, match="401") as caught:
        reader.read(entry)
    assert "secret" not in str(caught.value)
    for path in ("set/", "a.jpg?token=secret", "x.tar"):
        with pytest.raises(SourceError) as refused:
            entries(f"{url}/{path}")
        assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://u:p@h/a.jpg?Signature=1&Expires=2&Key-Pair-Id=3", "https://h/a.jpg"),
        ("https://h/a.jpg?sv=1&se=2&sr=b&sp=r&sig=x%3D&size=3", "https://h/a.jpg?size=3"),
        ("https://h/a.jpg?access_token=1#x", "https://h/a.jpg"),
        ("https://h/a.jpg?w=1&h=", "https://h/a.jpg?w=1&h="),
        ("s3://key:secret@bucket/a?b#c@d.jpg", "s3://bucket/a?b#c@d.jpg"),
        ("/a/u:p@h?sig=1", "/a/u:p@h?sig=1"),
        ("/a/\udcff.jpg", "/a/\\xff.jpg"),
    ],
)
def test_credentials_are_not_shown(location: str, shown: str) -> None:
    """User and password, signatures, tokens; other parameters name the file."""
    assert redacted(location) == shown


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it; before anything is listed."""
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with pytest.raises(SourceError, match=r"s3:// needs .*pip install 'nsfw-review\[remote\]'"):
        find_units(["s3://bucket/x"], left_out=LeftOutFiles())
