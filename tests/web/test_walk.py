"""The walk of docs/datasets.md, from a folder to a better model: its script, as it is printed."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from nsfw_app.datasets.scanned_parts import ScannedParts
from tests.support.server import ROOT, free_port
from tests.support.tiny_vit import tinted_image, trained
from tests.support.training_sets import meadow

SCRIPT = (ROOT / "docs/datasets.md").read_text().partition("```bash\n")[2].partition("```")[0]
COLD, MEADOWS, WARM = 60, 110, 170  # images: 85 of each label are held out
WAIT_S = 60


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of blue and orange images, and of meadows, which the model takes for unsafe."""
    directory = tmp_path_factory.mktemp("walk") / "photos"
    directory.mkdir()
    for kind, count, make, low, high in (
        ("cold", COLD, tinted_image, 0.0, 0.35),
        ("meadow", MEADOWS, meadow, 0.65, 1.0),
        ("warm", WARM, tinted_image, 0.65, 1.0),
    ):
        for number in range(count):
            warmth = low + (high - low) * number / count
            image = make(warmth, seed=1_000 * len(kind) + number)
            image.save(directory / f"{kind}-{number:03}.png")
    (directory / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no image")
    return directory


class Script:
    """The script, in a shell of its own in the directory that has the folder."""

    def __init__(self, directory: Path, model: Path) -> None:
        self.directory = directory
        command = directory / "bin" / "nsfw-review"
        command.parent.mkdir()
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m nsfw_app "$@"\n')
        command.chmod(0o755)
        port = free_port()
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)
        self.log = directory / "log"
        with self.log.open("wb") as log:
            self.shell = subprocess.Popen(
                ["bash", "-c", SCRIPT],
                cwd=directory,
                env={
                    **os.environ,
                    "PATH": f"{command.parent}:{os.environ['PATH']}",
                    "PYTHONPATH": str(ROOT),
                    "NSFW_MODEL": str(model),
                    "NSFW_PORT": str(port),
                    "NSFW_BACKEND": "torch",  # no parity check at the start
                    "NSFW_THREADS": "1",
                    "HF_HUB_OFFLINE": "1",
                },
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until_ready(self) -> None:
        """Wait until a server has its model."""
        end = time.monotonic() + WAIT_S
        while True:
            try:
                if self.client.get("/desk/status").json()["state"] == "ready":
                    return
            except httpx.TransportError:
                assert self.shell.poll() is None, self.log.read_text()
                assert time.monotonic() < end, self.log.read_text()
                time.sleep(0.1)

    def press_enter(self) -> None:
        """Answer the prompt."""
        assert self.shell.stdin is not None
        self.shell.stdin.write(b"\n")
        self.shell.stdin.flush()

    def post(self, path: str, body: object) -> Any:
        """Send JSON to the page's routes."""
        return self.client.post(path, json=body).raise_for_status().json()


@contextmanager
def running(directory: Path, model: Path) -> Iterator[Script]:
    """Runs the script until the block ends."""
    script = Script(directory, model)
    try:
        yield script
    finally:
        with suppress(ProcessLookupError):  # it failed
            os.killpg(script.shell.pid, signal.SIGTERM)
        script.shell.wait(30)
        script.client.close()


def review(script: Script) -> int:
    """Answer the whole queue as a reviewer who looks at each image; how many there were."""
    count = 0
    while items := script.post("/desk/queue/claim", {"count": 10})["items"]:
        for item in items:
            script.client.get(f"/desk/images/{item['sha256']}/picture").raise_for_status()
        answers = [
            {
                "nonce": uuid.uuid4().hex,
                "image_sha256": item["sha256"],
                "label": "nsfw" if item["name"].startswith("warm") else "normal",
                "threshold": item["threshold"],
                "seen": True,
                "tab": "queue",
                **{key: item[key] for key in ("model", "revision", "backend", "entry_id")},
            }
            for item in items
        ]
        script.post("/desk/batches", {"answers": answers})
        count += len(items)
    return count


def test_the_script_ends_with_a_better_model(
    photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Copied as it is, with people who answer; the model that it serves is right about meadows."""
    directory = photos.parent
    with running(directory, trained(tmp_path_factory)) as script:
        script.wait_until_ready()
        assert review(script) == COLD + MEADOWS + WARM
        script.press_enter()
        while not (directory / "compared.html").exists():
            assert script.shell.poll() is None, script.log.read_text()
            time.sleep(0.1)
        script.wait_until_ready()
        for image, label in ((meadow(0.9, seed=1), "normal"), (tinted_image(0.9, seed=1), "nsfw")):
            image.save(directory / "sent.png")
            files = {"file": (directory / "sent.png").read_bytes()}
            (answer,) = script.client.post("/v1/images", files=files).json()["images"]
            assert (answer["model"], answer["label"]) == ("our-model", label)
    log = script.log.read_text()
    counts = ScannedParts(directory / "scanned").record.counts
    assert (counts.images, sum(counts.errors.values())) == (COLD + MEADOWS + WARM + 1, 1)
    kept = (directory / "kept.jsonl").read_text().splitlines()
    assert len(kept) == COLD + MEADOWS
    assert "our-model: better." in log
    assert "<table" in (directory / "compared.html").read_text()
