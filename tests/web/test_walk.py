"""The walk of docs/datasets.md, from a folder to a better model: its script, line by line.

Commands run in this process, where torch is imported once; servers in processes of their own.
"""

import os
import shlex
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from nsfw_app.datasets.scanned_parts import ScannedParts
from nsfw_app.evidence import paired_comparison
from tests.support.commands import Run, run
from tests.support.server import ROOT, Server, free_port, serving
from tests.support.tiny_vit import tinted_image, trained
from tests.support.training_sets import meadow

__all__ = ["run"]  # a fixture

SCRIPT = (ROOT / "docs/datasets.md").read_text().partition("```bash\n")[2].partition("```")[0]
COMMAND, SERVE = "nsfw-review ", "nsfw-review serve"
# Where people answer, and how the script waits for them.
WAITING = f"""{SERVE} &
server=$!
trap 'kill "$server"' EXIT  # also where the script ends while it waits
read -r -p "Answer all images in the Queue tab of the page, then press Enter. "
kill "$server"
wait "$server" || true
trap - EXIT
"""
SOME_LEFT_OUT = " || [ $? -eq 3 ]"  # after a command whose exit code may be 3
# Images. Half are held out: 73 of each label that the model gets right, and meadows in addition.
COLD, MEADOWS, WARM = 175, 50, 150
OURS = {"NSFW_BACKEND": "torch", "NSFW_THREADS": "1"}  # no parity check for so small a model


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with photos/: blue and orange images, and meadows, which the model gets wrong."""
    photos = tmp_path / "photos"
    photos.mkdir()
    kinds = (
        ("cold", COLD, tinted_image, 0.0, 0.35),
        ("meadow", MEADOWS, meadow, 0.65, 1.0),
        ("warm", WARM, tinted_image, 0.65, 1.0),
    )
    for place, (kind, count, make, low, high) in enumerate(kinds):
        for number in range(count):  # with the same grain, two would be near duplicates
            warmth = low + (high - low) * number / count
            make(warmth, seed=1_000 * place + number).save(photos / f"{kind}-{number:03}.png")
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no image")
    return tmp_path


def bash(text: str, directory: Path) -> list[str]:
    """What bash prints, as texts that end with NUL."""
    program = f"set -euo pipefail\n{text}"
    done = subprocess.run(["bash", "-c", program], cwd=directory, capture_output=True, check=True)
    return done.stdout.decode().split("\0")[:-1]


def settings_of(script: str, directory: Path) -> dict[str, str]:
    """The variables that the script exports."""
    exports = "\n".join(line for line in script.splitlines() if line.startswith("export "))
    pairs = (text.partition("=") for text in bash(f"{exports}\nenv -0", directory))
    return {name: value for name, _, value in pairs if name.startswith("NSFW_")}


def run_commands(script: str, run: Run, directory: Path) -> Iterator[str]:
    """Run the commands of a part of the script; what each prints."""
    for line in script.splitlines():
        command = line.partition("  #")[0]
        if command.startswith(COMMAND):
            allowed = {0, 3} if command.endswith(SOME_LEFT_OUT) else {0}
            arguments = command.removesuffix(SOME_LEFT_OUT).removeprefix(COMMAND)
            done = run(*bash(f'printf "%s\\0" {arguments}', directory))
            assert done.code in allowed, (command, done)
            yield done.out
        else:
            assert not command or command.startswith(("set -euo pipefail", "export ")), command


class Page:
    """The page of a server, as a reviewer's browser uses it."""

    def __init__(self, server: Server) -> None:
        self._client = httpx.Client(base_url=server.url, timeout=30)
        while self._client.get("/desk/status").json()["state"] != "ready":
            pass

    def review_all(self) -> int:
        """Reveal and answer each image of the queue; how many there were."""
        count = 0
        while items := self._post("/desk/queue/claim", {"count": 10})["items"]:
            for item in items:
                self._client.get(f"/desk/images/{item['sha256']}/picture").raise_for_status()
            self._post("/desk/batches", {"answers": [self._answer(item) for item in items]})
            count += len(items)
        return count

    def classify(self, path: Path) -> Any:
        """The result for an image of the API."""
        files = {"file": path.read_bytes()}
        (found,) = self._client.post("/v1/images", files=files).raise_for_status().json()["images"]
        return found

    @staticmethod
    def _answer(item: Any) -> dict[str, object]:
        return {
            "nonce": uuid.uuid4().hex,
            "label": "nsfw" if item["name"].startswith("warm") else "normal",
            "image_sha256": item["sha256"],
            "seen": True,
            "tab": "queue",
            **{key: item[key] for key in "threshold model revision backend entry_id".split()},
        }

    def _post(self, path: str, body: object) -> Any:
        return self._client.post(path, json=body).raise_for_status().json()


def test_the_script_ends_with_a_better_model(
    directory: Path,
    run: Run,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The model that it trains is right about meadows, and is served in place of the other.

    A file that was changed after the scan is not reviewed, and does not end the script.
    """
    monkeypatch.setattr(paired_comparison, "RESAMPLES", 200)
    monkeypatch.setenv("NSFW_MODEL", str(trained(tmp_path_factory)))
    chosen = settings_of(SCRIPT, directory) | OURS | {"NSFW_DATA_DIR": str(directory / "data")}
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(directory)
    before, waiting, after = SCRIPT.partition(WAITING)
    assert waiting

    commands = run_commands(before, run, directory)
    scanned = next(commands)
    tinted_image(0.1, seed=9).save(directory / "photos" / "cold-000.png")
    assert len(list(commands)) == 1
    assert f"{COLD + MEADOWS + WARM} classified, 1 with an error (truncated 1)" in scanned
    serve = ("-m", "nsfw_app", "serve")
    with serving(directory, command=serve, PYTHONPATH=str(ROOT), **chosen) as server:
        assert Page(server).review_all() == COLD + MEADOWS + WARM - 1

    *lines, last = after.strip().splitlines()
    *_, trains, evaluates = run_commands("\n".join(lines), run, directory)
    assert trains.startswith("our-model: better.")
    assert "our-model minus tiny-vit: only the first labels 0 images correctly" in evaluates
    assert len((directory / "kept.jsonl").read_text().splitlines()) == COLD + MEADOWS
    assert ScannedParts(directory / "scanned").record.finished_at is not None

    variables, _, serves = last.partition(" ")
    assert serves == SERVE
    name, _, value = variables.partition("=")
    with serving(
        directory, command=serve, PYTHONPATH=str(ROOT), **chosen | {name: value}
    ) as server:
        page = Page(server)
        for image, label in ((meadow(0.9, seed=1), "normal"), (tinted_image(0.9, seed=1), "nsfw")):
            image.save(directory / "sent.png")
            found = page.classify(directory / "sent.png")
            assert (found["model"], found["label"]) == ("our-model", label)


def test_the_server_ends_with_the_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the input ends while the script waits for it: no server is left running."""
    monkeypatch.setenv("NSFW_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("NSFW_PORT", str(free_port()))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    command = f'nsfw-review() {{ exec {shlex.quote(sys.executable)} -m nsfw_app "$@"; }}'
    begin, waiting, _ = SCRIPT.partition(WAITING)
    assert begin.startswith("set -euo pipefail\n")
    program = f"set -euo pipefail\n{command}\n{waiting}echo continued"
    script = subprocess.Popen(
        ["bash", "-c", program],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        out, _ = script.communicate(timeout=60)  # until no process has the pipe any more
    finally:
        with suppress(ProcessLookupError):
            os.killpg(script.pid, signal.SIGKILL)
    assert b"continued" not in out
    assert script.returncode == 1
