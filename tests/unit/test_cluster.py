"""Scans on two local Ray nodes: the same rows as on one machine, also when something is killed."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from nsfw_app.dataset_errors import ClusterError, NodeDiffers, NotShared
from nsfw_app.datasets import cluster, units
from nsfw_app.datasets.cluster import RayCluster
from nsfw_app.datasets.scan_directory import ScanDirectory
from nsfw_app.datasets.scan_record import ScanRecord
from tests.support.commands import Run, run
from tests.support.fakes import image_bytes
from tests.support.range_server import range_server
from tests.support.ray_cluster import (
    AUTH,
    ENVIRONMENT,
    RayNodes,
    nodes,
    open_fake,
    open_model_of_process,
    wait_until,
)
from tests.support.scans import record, rows

__all__ = ["nodes", "run"]  # fixtures

ROOT = Path(__file__).parents[2]
# The command, with parts of few files.
PROGRAM = "\n".join(
    (
        "from nsfw_app.datasets import units",
        "from nsfw_app.__main__ import main",
        "units.FILES_PER_CUT, units.MAX_FILES = 5, 8",
        "main()",
    )
)
COUNT = 160
HOSTILE = {
    "empty.png": b"",
    "text.jpg": b"<html>",
    "cut.png": image_bytes(9, size=(200, 150))[:-300],
    "cut.jpg": image_bytes(9, size=(200, 150), image_format="JPEG")[:400],
    "header.gif": b"GIF89a\xff\xff\xff\xff\xf7\x00\x00",
    "bomb.bmp": image_bytes(1, image_format="BMP")[:18] + b"\xff\xff\xff\x0f" * 2 + bytes(40),
    "broken.tar": b"no archive",
    "no text \udcff.png": image_bytes(77),
}
TOTAL = COUNT + len(HOSTILE) + 2  # members of an archive
TIMEOUT_S = 120
SECRET = "5ecret-0f-anna"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """So many images that a scan can be interrupted, hostile files, and an archive."""
    source = tmp_path_factory.mktemp("source")
    for number in range(COUNT):
        (source / f"{number:03}.png").write_bytes(image_bytes(number, size=(200, 150)))
    for name, data in HOSTILE.items():
        (source / name).write_bytes(data)
    with zipfile.ZipFile(source / "a.zip", "w") as archive:
        archive.writestr("member.png", image_bytes(251))
        archive.writestr("cut.gif", b"GIF89a")
    return source


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """The directory of a scan, not created yet."""
    return tmp_path / "out"


@pytest.fixture
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Units as in `PROGRAM`."""
    monkeypatch.setattr(units, "FILES_PER_CUT", 5)
    monkeypatch.setattr(units, "MAX_FILES", 8)


def started(source: Path, output: Path, address: str = "") -> subprocess.Popen[str]:
    """A scan in a process of its own, on a cluster or, without an address, on this machine."""
    environment = {
        "PYTHONPATH": str(ROOT),
        "NSFW_MODEL": "open-nsfw",
        "NSFW_BACKEND": "torch",
        "NSFW_DATA_DIR": str(output.parent),
    }
    options = ["--cluster", address] if address else []
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "scan", str(source), "--output", str(output), *options],
        env={**os.environ, **(ENVIRONMENT if address != "local" else AUTH), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_parts(process: subprocess.Popen[str], output: Path, count: int) -> None:
    """Wait until there are this many part files; the scan must not have ended."""
    wait_until(lambda: process.poll() is not None or len(parts(output)) >= count)
    assert process.poll() is None, process.communicate()


def processes_with(value: str) -> list[int]:
    """Processes with this value in their environment: a command and those that it started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # it has ended
            if value.encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def listening(processes: Iterable[int]) -> set[str]:
    """The addresses at which processes accept connections."""
    sockets = set()
    for pid in processes:
        for path in Path(f"/proc/{pid}/fd").glob("*"):
            with suppress(OSError):
                sockets.add(str(path.readlink()).removeprefix("socket:[").removesuffix("]"))
    found = set()
    for family, name in ((socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6")):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in sockets:  # it listens
                groups = re.findall("." * 8, fields[1].partition(":")[0])
                data = b"".join(bytes.fromhex(group)[::-1] for group in groups)
                found.add(socket.inet_ntop(family, data))
    return found


def parts(output: Path) -> list[Path]:
    """The part files of a scan."""
    return list(output.glob("images/part-*"))


def assert_complete(output: Path, expected: Mapping[str, object]) -> None:
    """Each image has the row of a scan on one machine, and nothing else is there."""
    assert comparable(output) == expected
    record = ScanRecord.read(output)
    assert record.finished_at is not None
    assert record.counts.images == len(expected)
    assert not list(output.rglob(".partial-*"))
    assert not (output / "unfinished").exists()


def comparable(output: Path) -> dict[str, object]:
    """The rows of a scan, without their time."""
    found = rows(output)
    for row in found.values():
        row.pop("scanned_at")
    return dict(found)


@pytest.fixture(scope="module")
def expected(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The rows of a scan on one machine."""
    output = tmp_path_factory.mktemp("expected") / "out"
    out, err = started(source, output).communicate(timeout=TIMEOUT_S)
    assert f"{TOTAL} images" in out, err
    return comparable(output)


@pytest.mark.usefixtures("small_units")
def test_both_nodes_scan_as_one_machine(
    nodes: RayNodes, run: Run, source: Path, output: Path, expected: Mapping[str, object]
) -> None:
    """Every image, hostile ones too, has the same row; `scan.json` and messages are the same."""
    ended = run("scan", source, "--output", output, "--cluster", nodes.client_address)
    assert ended.code == 3, ended.err
    assert f"This run scanned {TOTAL}," in ended.out
    assert "Workers that have loaded the model: 2.\n" in ended.err
    assert_complete(output, expected)
    line = json.loads(ended.err.splitlines()[-1])
    assert (line["scanned"], line["share"]) == (TOTAL, 1.0)
    assert sum(line["errors"].values()) == sum(ScanRecord.read(output).counts.errors.values())
    again = run("scan", source, "--output", output)
    assert "This run scanned 0," in again.out


def test_kill_the_command_a_worker_and_a_node(
    nodes: RayNodes, source: Path, output: Path, expected: Mapping[str, object]
) -> None:
    """In the middle, one after the other: what is written is whole, and the rest is scanned."""
    process = started(source, output, nodes.address)
    wait_for_parts(process, output, 2)
    process.kill()
    process.communicate()
    wait_until(lambda: not nodes.workers())
    written = len(rows(output))
    assert 0 < written < COUNT
    copy = output.with_name("copy")
    shutil.copytree(output, copy)
    out, err = started(source, copy).communicate(timeout=TIMEOUT_S)
    assert f"This run scanned {TOTAL - written}," in out, err
    assert_complete(copy, expected)

    process = started(source, output, nodes.address)
    wait_for_parts(process, output, len(parts(output)) + 1)
    first = nodes.workers()
    assert len(first) == 2
    for worker in first.values():  # with units in flight, so that the scan cannot end
        nodes.pause(worker)
    node = nodes.add()
    try:
        joined = wait_until(lambda: nodes.workers().get(node.node_id))
        wait_for_parts(process, output, len(parts(output)) + 1)
        nodes.pause(joined)
    finally:
        nodes.remove(node)
    killed, continued = first.values()
    os.kill(killed, signal.SIGKILL)
    os.kill(continued, signal.SIGCONT)
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 3, err
    assert f"{TOTAL} images" in out
    assert_complete(output, expected)


def test_credentials_of_a_list_are_not_stored(nodes: RayNodes, output: Path) -> None:
    """Neither in the command line that Ray stores, nor in its logs, nor in the result."""
    names = output.with_name("list.txt")
    with range_server() as server:
        server.password = f"anna:{SECRET}"
        server.files["/x.png"] = image_bytes(1)
        host = server.url.removeprefix("http://")
        names.write_text(f"http://anna:{SECRET}@{host}/x.png?sig={SECRET}\n")
        process = started(Path(f"@{names}"), output, nodes.address)
        out, err = process.communicate(timeout=TIMEOUT_S)
    assert "1 images" in out, err
    assert process.returncode == 0
    lines = nodes.command_lines()
    assert any(str(names) in line for line in lines)
    assert not any(SECRET in line for line in lines)
    for path in (*nodes.directory.rglob("*"), *output.rglob("*")):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


def test_messages_of_ray_are_no_results(nodes: RayNodes, source: Path, output: Path) -> None:
    """As about a worker that ran out of memory: they go to standard error."""
    process = started(source, output, nodes.address)
    wait_for_parts(process, output, 2)
    nodes.report("A worker died.")
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert "A worker died." in err
    assert out.startswith(f"{TOTAL} images in")
    assert out.count("\n") == 1


def test_ctrl_c_on_a_local_cluster(
    source: Path, output: Path, expected: Mapping[str, object]
) -> None:
    """Images in flight are finished and kept, it exits 130, and the cluster ends with it.

    Other machines cannot reach it.
    """
    process = started(source, output, "local")
    wait_for_parts(process, output, 2)
    addresses = listening(processes_with(str(output.parent)))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130, err
    assert "Finishing the images in flight." in err
    assert f"Continue with: nsfw-review scan {source} --output {output} --cluster local" in err
    assert ScanRecord.read(output).finished_at is None
    assert not processes_with(str(output.parent))
    assert addresses
    assert addresses <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    scanned, written = json.loads(err.splitlines()[-2])["scanned"], len(rows(output))
    assert scanned >= written
    out, err = started(source, output).communicate(timeout=TIMEOUT_S)
    assert f"This run scanned {TOTAL - written}," in out, err
    duplicates = int(out.split(",")[-1].split()[0])
    assert duplicates >= scanned - written - len(HOSTILE)  # errors are tried again
    assert_complete(output, expected)


def test_an_output_that_is_not_shared(
    nodes: RayNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is an error before the first image: here a path that each process resolves for itself."""
    monkeypatch.setattr(cluster, "VISIBLE_S", 0.5)
    monkeypatch.chdir(tmp_path)
    with (
        pytest.raises(NotShared, match="is not the same directory there"),
        RayCluster(nodes.address, open_model=open_fake) as opened,
        ScanDirectory.opened(Path("/proc/self/cwd/out"), record(tmp_path)) as directory,
    ):
        opened.scanner(directory, redo=frozenset(), probes=[])
    assert {path.name for path in (tmp_path / "out").iterdir()} == {".lock", "images", "scan.json"}


def test_a_node_with_another_model(nodes: RayNodes) -> None:
    """Is an error that says what differs, and what to do."""
    opened = RayCluster(nodes.address, open_model=open_model_of_process)
    with (
        pytest.raises(NodeDiffers, match=r"has weights \d+ \(not \d+.*same model and packages"),
        opened,
    ):
        pass


def test_another_version_of_ray(
    nodes: RayNodes, run: Run, source: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is an error with both versions."""
    import ray

    ours = ray.__version__
    monkeypatch.setattr(ray, "__version__", "2.0.0")
    ended = run("scan", source, "--output", output, "--cluster", nodes.address)
    assert f"Ray: {ours}" in ended.err
    assert "Ray: 2.0.0" in ended.err
    assert "Install the same versions of Ray and Python on both." in ended.err
    assert ended.code == 1
    assert not output.exists()


def test_ray_is_not_installed(
    run: Run, source: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is an error that says how to install it."""
    monkeypatch.setitem(sys.modules, "ray", None)
    ended = run("scan", source, "--output", output, "--cluster", "auto")
    assert "pip install '.[cluster]'" in ended.err
    assert ended.code == 1
    assert not output.exists()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "no address"])
def test_a_cluster_that_does_not_run(address: str) -> None:
    """Is an error with the address, at once."""
    with (
        pytest.raises(ClusterError, match=address),
        RayCluster(address, open_model=open_model_of_process),
    ):
        pass
