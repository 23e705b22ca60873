"""Commands: output, errors and exit codes."""

import csv
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

import nsfw_app
from nsfw_app.records import Label, Retain, Review, Upload
from nsfw_app.review.engine import Engine
from nsfw_app.review.exports import LOG_COLUMNS
from nsfw_app.review.image_json import DETAIL_COLUMNS, REVIEW_COLUMNS, review_json
from tests.support.commands import Result, Run, run
from tests.support.fakes import image_bytes
from tests.support.sample_records import answer_to, person

ROOT = Path(nsfw_app.__file__).parents[1]
OPEN_NSFW_WEIGHTS = "864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa"


__all__ = ["run"]  # a fixture


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory with two images, one of them in a subdirectory, and a text file."""
    folder = tmp_path / "photos"
    (folder / "deeper").mkdir(parents=True)
    (folder / "b.png").write_bytes(image_bytes(200))
    (folder / "deeper" / "a.JPG").write_bytes(image_bytes(20, image_format="JPEG"))
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture
def reviews(engine: Engine) -> Iterator[dict[str, Review]]:
    """Four reviewed images: a disagreement, an agreement, an undone and a changed decision."""
    reviews = {
        name: engine.review(
            image_bytes(255 - number), Upload(name, "gallery", "ann", retain=Retain.QUEUE)
        )
        for number, name in enumerate(["disagreed", "agreed", "undone", "changed"])
    }

    def decide(name: str, label: Label) -> int:
        decision = answer_to(reviews[name], f"{name} {label}", label)
        return engine.decide(decision, person("Ann", owner="ann")).decision_id

    decide("disagreed", Label.NORMAL)
    decide("agreed", Label.NSFW)
    engine.undo(decide("undone", Label.NORMAL), reviewer="Ann", nonce="undo")
    decide("changed", Label.UNSURE)
    decide("changed", Label.NSFW)
    return reviews


def names(csv_text: str) -> list[str]:
    """The image names in an exported log."""
    return [row["name"] for row in csv.DictReader(io.StringIO(csv_text, newline=""))]


def run_process(*arguments: str | Path, stderr: int = subprocess.PIPE, **settings: str) -> Result:
    """Runs a command in a process of its own, with these settings and no model hub."""
    ended = subprocess.run(
        [sys.executable, "-m", "nsfw_app", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"} | settings,
        stdout=subprocess.PIPE,
        stderr=stderr,
        timeout=60,
        check=False,
    )
    return Result(ended.returncode, ended.stdout.decode(), (ended.stderr or b"").decode())


def read_all(terminal: int) -> str:
    """Everything that was written to a terminal until it was closed."""
    shown = b""
    with open(terminal, "rb", buffering=0) as file, suppress(OSError):  # its end is an error
        while chunk := file.read(4_096):
            shown += chunk
    return shown.decode()


def test_classify_prints_a_line_per_image(run: Run, folder: Path) -> None:
    """Each named image, and each in a named directory, has a line: action, label, score, name."""
    ended = run("classify", folder / "b.png", folder)
    lines = [line.split() for line in ended.out.splitlines()]
    assert [Path(line[3]).name for line in lines] == ["b.png", "b.png", "a.JPG"]
    assert all(line[0] in {"allow", "review", "block"} for line in lines)
    assert lines[0] == lines[1]
    assert ended.code == 0
    assert ended.err == f"Left out: not named as an image: 1 ({folder}/notes.txt).\n"


def test_classify_jsonl_is_the_object_of_the_api(run: Run, folder: Path) -> None:
    """With --jsonl each line of standard output is the JSON object of an image."""
    ended = run("classify", "--jsonl", folder)
    lines = [json.loads(line) for line in ended.out.splitlines()]
    assert [line["name"] for line in lines] == [
        str(folder / "b.png"),
        str(folder / "deeper" / "a.JPG"),
    ]
    for line in lines:
        assert set(line["probabilities"]) == {"normal", "nsfw"}
        assert line["nsfw_score"] == line["probabilities"]["nsfw"]
        assert (line["model"], line["backend"]) == ("open-nsfw", "onnxruntime")
        assert line["weights_sha256"] == OPEN_NSFW_WEIGHTS
        assert (line["threshold"], line["error"]) == (0.33, None)
    assert ended.code == 0


def test_classify_continues_after_unavailable_images_and_exits_3(run: Run, folder: Path) -> None:
    """A file that cannot be classified is unavailable; all others are classified."""
    (folder / "a.png").write_bytes(b"<html>")
    ended = run("classify", "--jsonl", folder / "nowhere.png", folder)
    lines = [json.loads(line) for line in ended.out.splitlines()]
    kinds = [line["error"] and line["error"]["kind"] for line in lines]
    assert kinds == ["missing", "not_an_image", None, None]
    assert [line["action"] for line in lines[:2]] == ["unavailable"] * 2
    assert [line["nsfw_score"] is None for line in lines] == [True, True, False, False]
    assert ended.code == 3


def test_an_unavailable_image_has_the_reason(run: Run, folder: Path) -> None:
    """Its line ends with the error message."""
    ended = run("classify", folder / "nowhere.png")
    assert ended.out.startswith("unavailable ")
    assert ended.out.endswith("nowhere.png cannot be read: No such file or directory.\n")
    assert ended.code == 3


def test_classify_accepts_any_file_name(run: Run, tmp_path: Path) -> None:
    """A file whose name cannot be decoded is classified; the name is printed escaped."""
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff [bold]\xe9.png"))
    path.write_bytes(image_bytes(200))
    as_text, as_json = run("classify", path), run("classify", "--jsonl", path)
    assert (as_text.code, as_json.code) == (0, 0)
    assert as_text.out.endswith("/\\udcff [bold]\\udce9.png\n")
    assert json.loads(as_json.out)["name"] == str(path)


def test_control_characters_of_a_file_name_are_escaped(run: Run, tmp_path: Path) -> None:
    """Line breaks and terminal escape sequences in a name are made visible."""
    path = tmp_path / "a\nallow       normal  0.000    \x1b[2Jfake.png"
    path.write_bytes(image_bytes(200))
    ended = run("classify", path)
    assert ended.out.count("\n") == 1
    assert "\x1b" not in ended.out


def test_classify_stores_no_previews(run: Run, folder: Path, tmp_path: Path) -> None:
    """The images directory stays empty."""
    assert run("classify", folder).code == 0
    assert [path for path in (tmp_path / "images").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("file_format", ["table", "csv", "jsonl"])
def test_any_output_encoding_accepts_any_name(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, file_format: str
) -> None:
    """Characters that the encoding lacks are escaped, in results and in errors."""
    images = tmp_path / "in"
    images.mkdir()
    for name in ("日本.png".encode(), b"\xff.png", b".\xfe.png"):
        path = Path(os.fsdecode(os.fsencode(images) + b"/" + name))
        path.write_bytes(image_bytes(200))
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    assert run("classify", images, "--format", file_format).code == 0
    printed, warned = (stream.buffer.getvalue().decode(encoding) for stream in (out, err))
    assert ("/\\u65e5\\u672c.png" in printed) is (encoding != "utf-8" or file_format == "jsonl")
    assert "/\\udcff.png" in printed
    assert warned == f"Left out: hidden: 1 ({images}/.\\udcfe.png).\n"


def test_the_c_locale_accepts_any_name(folder: Path, tmp_path: Path) -> None:
    """In the C locale, Python cannot encode a name; it is escaped."""
    path = folder / "日本.png"
    path.write_bytes(image_bytes(200))
    settings = {"NSFW_MODEL": "open-nsfw", "NSFW_BACKEND": "torch", "NSFW_DATA_DIR": str(tmp_path)}
    ended = run_process("classify", path, PYTHONIOENCODING="latin-1", LC_ALL="C", **settings)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.endswith("/\\u65e5\\u672c.png\n")


def test_csv_is_the_object_of_the_api_flattened(run: Run, folder: Path) -> None:
    """One row per image with the JSON's values; probabilities as JSON, the error in two columns."""
    (folder / "c.png").write_bytes(b"no image")
    as_json = run("classify", folder, "--format", "jsonl")
    objects = [json.loads(line) for line in as_json.out.splitlines()]
    as_csv = run("classify", folder, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(as_csv.out, newline="")))
    assert (as_csv.code, len(rows)) == (3, 3)
    assert tuple(rows[0]) == REVIEW_COLUMNS
    for row, expected in zip(rows, objects, strict=True):
        assert (expected.pop("detail"), [row.pop(name) for name in DETAIL_COLUMNS]) == (
            None,
            [""] * len(DETAIL_COLUMNS),
        )
        error = expected.pop("error") or {"kind": "", "message": ""}
        assert (row.pop("error_kind"), row.pop("error_message")) == tuple(error.values())
        warnings = [warning["code"] for warning in expected.pop("warnings")]
        assert json.loads(row.pop("warnings")) == warnings
        probabilities = row.pop("probabilities")
        assert (json.loads(probabilities) if probabilities else None) == expected.pop(
            "probabilities"
        )
        assert row == {key: "" if value is None else str(value) for key, value in expected.items()}


def test_warnings_are_shown_in_every_format(run: Run, tmp_path: Path) -> None:
    """At the end of the line, in a column of the CSV, in the JSON object."""
    path = tmp_path / "a.png"
    path.write_bytes(image_bytes(200, image_format="JPEG"))
    assert run("classify", path).out.endswith("/a.png  (warnings: extension)\n")
    (row,) = csv.DictReader(io.StringIO(run("classify", path, "--format", "csv").out, newline=""))
    assert row["warnings"] == '["extension"]'
    (warning,) = json.loads(run("classify", path, "--jsonl").out)["warnings"]
    assert warning["code"] == "extension"


def test_csv_escapes_formulas_in_names(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that a spreadsheet would evaluate is prefixed with an apostrophe."""
    monkeypatch.chdir(tmp_path)
    Path("=1+1.png").write_bytes(image_bytes(200))
    ended = run("classify", "--format", "csv", "=1+1.png")
    assert ended.out.splitlines()[1].startswith("'=1+1.png,")


def test_contradictory_formats_are_wrong_usage(run: Run, folder: Path) -> None:
    """`--jsonl` means `--format jsonl` and contradicts any other."""
    assert run("classify", folder, "--jsonl", "--format", "jsonl").code == 0
    assert run("classify", folder, "--jsonl", "--format", "csv").code == 2


@pytest.mark.parametrize("command", ["classify", "export", "audit"])
def test_a_closed_pipe_is_not_an_error(run: Run, folder: Path, command: str) -> None:
    """Piped into `head`, a command ends without a message."""
    run("export")  # writes an audit entry
    arguments = ["classify", folder, folder, folder] if command == "classify" else [command]
    process = subprocess.Popen(
        [sys.executable, "-m", "nsfw_app", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=60)
    printed = [line for line in err.decode().splitlines() if not line.startswith("Left out")]
    assert printed == []
    assert process.returncode in {0, 1}


def tree(directory: Path) -> list[str]:
    """The paths of all files below a directory."""
    return sorted(
        str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()
    )


@pytest.mark.parametrize("how", ["--copy-to", "--move-to"])
def test_classify_sorts_files_by_action(run: Run, folder: Path, tmp_path: Path, how: str) -> None:
    """Each file goes to the folder of its action; exit 3 reports the unavailable one."""
    (folder / "deeper" / "bad.png").write_bytes(b"no image")
    before = tree(folder)
    target = tmp_path / "sorted"
    ended = run("classify", folder, how, target)
    assert (ended.code, len(ended.out.splitlines())) == (3, 3)
    expected = ["allow/b.png", "allow/deeper/a.JPG", "unavailable/deeper/bad.png"]
    assert tree(target) == expected
    assert tree(folder) == (["notes.txt"] if how == "--move-to" else before)
    again = run("classify", folder, how, target)
    assert tree(target) == expected
    assert again.code == (0 if how == "--move-to" else 3)


def test_classify_reports_files_that_it_could_not_sort(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    """A file whose place is taken stays and is reported at the end, exit 1."""
    target = tmp_path / "sorted"
    target.mkdir()
    (target / "allow").write_text("no directory")
    (folder / "bad.png").write_bytes(b"no image")
    ended = run("classify", folder, "--move-to", target)
    assert ended.code == 1
    assert tree(target) == ["allow", "unavailable/bad.png"]
    assert tree(folder) == ["b.png", "deeper/a.JPG", "notes.txt"]
    lines = ended.err.splitlines()[1:]
    assert [line.partition(" was not sorted: ")[0] for line in lines] == [
        f"{folder}/b.png",
        f"{folder}/deeper/a.JPG",
    ]


@pytest.mark.parametrize("inside", [".", "allow/a.png"])
def test_classify_does_not_sort_its_destination(run: Run, tmp_path: Path, inside: str) -> None:
    """A destination below a named directory is left out; a path in it is wrong usage."""
    target = tmp_path / "in" / "sorted"
    (target / "allow").mkdir(parents=True)
    (target / "allow" / "a.png").write_bytes(image_bytes(9))
    (tmp_path / "in" / "b.png").write_bytes(image_bytes(10))
    ended = run("classify", tmp_path / "in", "--copy-to", target)
    assert tree(target) == ["allow/a.png", "allow/b.png"]
    assert "inside the destination: 1" in ended.err
    refused = run("classify", target / inside, "--copy-to", target)
    assert (refused.code, refused.out) == (2, "")
    assert "lies in the destination" in " ".join(refused.err.replace("│", "").split())


@pytest.mark.parametrize("wrong", ["both", "file"])
def test_a_wrong_destination_is_wrong_usage(
    run: Run, folder: Path, tmp_path: Path, wrong: str
) -> None:
    """Two destinations, or one that is a file, are refused before any image is classified."""
    both = ["--move-to", tmp_path / "a", "--copy-to", tmp_path / "b"]
    ended = run("classify", folder, *(both if wrong == "both" else ["--copy-to", __file__]))
    assert (ended.code, ended.out) == (2, "")


def test_an_unreadable_directory_exits_3(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its images are not classified; the directory is reported."""
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "deeper":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    ended = run("classify", folder)
    assert (ended.code, len(ended.out.splitlines())) == (3, 1)
    assert f"directories that cannot be read: 1 ({folder}/deeper)" in ended.err


def test_progress_goes_to_the_terminal_only(folder: Path, tmp_path: Path) -> None:
    """With standard error on a terminal there is a progress bar; piped results do not change."""
    ours, theirs = pty.openpty()
    settings = {"NSFW_MODEL": "open-nsfw", "NSFW_BACKEND": "torch", "NSFW_DATA_DIR": str(tmp_path)}
    settings |= {"TERM": "xterm"}
    with ThreadPoolExecutor(1) as pool:  # a terminal that is not read blocks the command
        reading = pool.submit(read_all, ours)
        try:
            ended = run_process("classify", "--jsonl", folder, stderr=theirs, **settings)
        finally:
            os.close(theirs)
        shown = reading.result()
    assert [Path(json.loads(line)["name"]).name for line in ended.out.splitlines()] == [
        "b.png",
        "a.JPG",
    ]
    assert "100%" in shown
    assert "nsfw_score" not in shown


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NSFW_PORT", "many"),
        ("NSFW_THRESHOLD", "1.5"),
        ("NSFW_JOURNAL_MODE", "off"),
        ("NSFW_REVIEW_TO", "0.1"),
        ("NSFW_DATA_DIR", f"{__file__}/data"),
        ("NSFW_DATA_DIR", __file__),
    ],
    ids="port threshold journal band inside-a-file a-file".split(),
)
@pytest.mark.parametrize("command", ["classify", "export"])
def test_an_invalid_setting_is_one_sentence(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: str, name: str, value: str
) -> None:
    """An invalid setting ends any command with exit 1; the message has its name and value."""
    monkeypatch.setenv(name, value)
    ended = run(command, *([__file__] if command == "classify" else []))
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.splitlines()[-1].startswith("Error: ")
    assert name in ended.err
    assert value in ended.err


def test_an_unknown_model_is_an_error(folder: Path, tmp_path: Path) -> None:
    """A named model that cannot be loaded ends the command; no other model replaces it."""
    here = str(tmp_path)
    settings = {"NSFW_MODEL": "missing/model", "NSFW_DATA_DIR": here, "HF_HOME": here}
    ended = run_process("classify", folder, **settings)
    assert (ended.code, ended.out) == (1, "")
    error = ended.err.splitlines()[-1]
    assert error.startswith("Error: The model 'missing/model'")
    assert "NSFW_MODEL" in error
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    "arguments",
    [["classify"], ["export", "--format", "xml"], ["export", "--since", "2026-13-01"], ["guess"]],
    ids=" ".join,
)
def test_wrong_usage_exits_2(run: Run, arguments: list[str]) -> None:
    """A command that cannot be parsed prints its usage."""
    ended = run(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert "Usage" in ended.err


def test_export_is_the_disagreements_that_stand(run: Run, reviews: dict[str, Review]) -> None:
    """By default the log has corrections that were neither undone nor changed."""
    ended = run("export")
    assert names(ended.out) == ["disagreed"]
    assert ended.out.splitlines()[0] == ",".join(LOG_COLUMNS)
    assert ended.code == 0


def test_export_all_is_every_decision(run: Run, reviews: dict[str, Review]) -> None:
    """With --all the log also has agreements and undone decisions, marked as such."""
    ended = run("export", "--all", "--format", "jsonl")
    rows = [json.loads(line) for line in ended.out.splitlines()]
    assert [(row["name"], row["agrees"], row["undone"]) for row in rows] == [
        ("changed", True, False),
        ("changed", None, True),
        ("undone", False, True),
        ("agreed", True, False),
        ("disagreed", False, False),
    ]


def test_export_says_what_it_leaves_out(run: Run, reviews: dict[str, Review]) -> None:
    """On standard error, with the numbers and the option that includes them."""
    ended = run("export")
    assert "decisions are left out: " in ended.err
    assert "--all includes agreements" in ended.err
    everything = len(names(run("export", "--all").out))
    left_out = int(ended.err.split()[0])
    assert left_out + len(names(ended.out)) == everything
    assert run("export", "--all").err == ""
    future = run("export", "--all", "--since", "2999-01-01")
    assert f"{everything} decisions are left out: {everything} outside of the dates." in future.err


def test_export_formats_have_the_same_values(run: Run, reviews: dict[str, Review]) -> None:
    """A row is the same in both formats, with the values of the reviewer's screen."""
    (row,) = csv.DictReader(io.StringIO(run("export").out, newline=""))
    decision = json.loads(run("export", "--format", "jsonl").out)
    written = {False: "false", None: ""}
    assert {
        key: written[value] if value in (False, None) else str(value)
        for key, value in decision.items()
    } == row
    shown = review_json(reviews["disagreed"])
    for key in ("nsfw_score", "threshold", "model", "revision", "backend"):
        assert decision[key] == shown[key]


@pytest.mark.parametrize(
    ("since", "expected"),
    [("2001-01-01", ["disagreed"]), ("2001-01-01T10:00:00", ["disagreed"]), ("9999-01-01", [])],
)
def test_export_since_a_date(
    run: Run, reviews: dict[str, Review], since: str, expected: list[str]
) -> None:
    """With --since only decisions from that time on are written."""
    assert names(run("export", "--since", since).out) == expected


@pytest.mark.parametrize("file_format", ["csv", "jsonl"])
def test_export_to_a_file(
    run: Run, reviews: dict[str, Review], tmp_path: Path, file_format: str
) -> None:
    """With --output the file has the bytes that standard output would have."""
    path = tmp_path / "log"
    printed = run("export", "--all", "--format", file_format)
    ended = run("export", "--all", "--format", file_format, "--output", path)
    assert (ended.code, ended.out) == (0, "")
    assert path.read_bytes() == printed.out.encode()


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_export_for_spreadsheets(
    run: Run,
    engine: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    encoding: str,
) -> None:
    """With --bom CSV begins with a byte order mark and is UTF-8 in any locale."""
    review = engine.review(
        image_bytes(255), Upload("日本.png", "gallery", "ann", retain=Retain.QUEUE)
    )
    engine.decide(answer_to(review), person("Ann", owner="ann"))
    path = tmp_path / "log.csv"
    assert run("export", "--bom", "--output", path).code == 0
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", out)
    assert run("export", "--bom").code == 0
    out.flush()
    assert out.buffer.getvalue() == path.read_bytes()
    assert path.read_bytes().startswith(b"\xef\xbb\xbfdecision_id,")
    assert "日本.png" in path.read_text("utf-8")
    assert run("export", "--bom", "--format", "jsonl").code == 2


def test_export_to_an_invalid_path_is_one_sentence(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A file that cannot be written ends the command; the message has its path."""
    monkeypatch.chdir(tmp_path)
    ended = run("export", "--output", "nowhere/log.csv")
    assert ended.code != 0
    assert "nowhere/log.csv" in ended.err


def test_export_needs_no_model(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is exported without loading the model."""
    monkeypatch.setenv("NSFW_MODEL", "missing/model")
    ended = run("export", "--all")
    assert (ended.code, ended.out) == (0, ",".join(LOG_COLUMNS) + "\r\n")


@pytest.mark.parametrize("command", ["classify", "export", "audit", "--version"])
def test_a_full_disk_behind_standard_output_is_a_sentence(
    run: Run, folder: Path, command: str
) -> None:
    """Output that cannot be written ends any command with one sentence and exit 1."""
    run("export")  # writes an audit entry
    arguments = [command, str(folder)] if command == "classify" else [command]
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "nsfw_app", *arguments],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    printed = [
        line for line in ended.stderr.decode().splitlines() if not line.startswith("Left out")
    ]
    assert printed == ["Error: Standard output cannot be written: No space left on device."]
    assert ended.returncode == 1


def test_closed_standard_output_is_discarded(run: Run, tmp_path: Path) -> None:
    """With `>&-` a command runs without output."""
    ended = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m nsfw_app export --all >&-"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_a_moved_file_is_already_sorted(run: Run, folder: Path, tmp_path: Path) -> None:
    """A named file that a previous run has moved is reported, the others are classified, exit 0."""
    target = tmp_path / "sorted"
    named = [folder / "b.png", folder / "deeper" / "a.JPG"]
    assert run("classify", named[0], "--move-to", target).code == 0
    ended = run("classify", *named, "--move-to", target)
    assert ended.code == 0
    assert ended.err == f"{named[0]} is already sorted: {target}/allow/b.png.\n"
    assert [line.split()[-1] for line in ended.out.splitlines()] == [str(named[1])]
    assert tree(target) == ["allow/a.JPG", "allow/b.png"]
    again = run("classify", *named, "--move-to", target)
    assert (again.code, again.out, len(again.err.splitlines())) == (0, "", 2)


def test_a_file_that_was_never_there_is_not_sorted(run: Run, folder: Path, tmp_path: Path) -> None:
    """A named file that is neither there nor in the destination is an error."""
    target = tmp_path / "sorted"
    ended = run("classify", folder / "nowhere.png", "--move-to", target)
    assert ended.code == 1
    assert "already sorted" not in ended.err


@pytest.fixture
def damaged_model(tmp_path: Path) -> Path:
    """A model directory whose weights cannot be read."""
    directory = tmp_path / "damaged"
    directory.mkdir()
    config = {"model_type": "vit", "id2label": {"0": "normal", "1": "nsfw"}}
    (directory / "config.json").write_text(json.dumps(config))
    processor = {"image_processor_type": "ViTImageProcessor"}
    (directory / "preprocessor_config.json").write_text(json.dumps(processor))
    (directory / "model.safetensors").write_bytes(b"damaged")
    return directory


def test_a_model_that_cannot_be_loaded_is_one_sentence(
    folder: Path, tmp_path: Path, damaged_model: Path
) -> None:
    """Standard error ends with the sentence and has no traceback; before it is only progress."""
    chosen = {"NSFW_MODEL": str(damaged_model), "NSFW_DATA_DIR": str(tmp_path / "data")}
    ended = run_process("classify", folder / "b.png", **chosen)
    assert (ended.code, ended.out) == (1, "")
    *progress, error = ended.err.splitlines()
    assert error.startswith("Error: The weights of 'damaged' are damaged.")
    assert [line for line in progress if not line.startswith("Loading damaged, revision ")] == []


def test_verbose_prints_the_log(tmp_path: Path, damaged_model: Path) -> None:
    """With --verbose, standard error has the traceback of the library's error."""
    chosen = {"NSFW_MODEL": str(damaged_model), "NSFW_DATA_DIR": str(tmp_path / "data")}
    ended = run_process("--verbose", "optimize", **chosen)
    assert (ended.code, ended.out) == (1, "")
    assert "Traceback" in ended.err
    assert ended.err.splitlines()[-1].startswith("Error: The weights of 'damaged' are damaged.")


def test_the_version_is_that_of_the_package(run: Run) -> None:
    """`--version` prints it and nothing else."""
    ended = run("--version")
    assert ended == (0, f"nsfw-review {nsfw_app.__version__}\n", "")
