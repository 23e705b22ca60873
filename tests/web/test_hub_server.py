"""A server that saves in a dataset repository, is killed, loses its disk, and is started again."""

import io
import json
import os
import re
import shutil
import signal
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from playwright.sync_api import Browser, expect

from tests.support.browser import opened
from tests.support.fakes import image_bytes
from tests.support.server import ROOT, Server, serving
from tests.support.upload_hub import TOKEN, UploadHub, upload_hub

# Every half second instead of every minute.
PROGRAM = """
from nsfw_app.hub_sync import schedule
from nsfw_app import server
schedule.INTERVAL_S = {interval}
server.main()
"""
LOG = "select * from correction_log order by decision_id"


def environment(hub: UploadHub) -> dict[str, str]:
    """Settings of a server that saves in this hub."""
    return {
        "PYTHONPATH": str(ROOT),
        "NSFW_HUB_DATASET": "org/decisions",
        "NSFW_HUB_PREVIEWS": "true",
        "HF_TOKEN": TOKEN,
        "HF_ENDPOINT": hub.url,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
    }


def request(server: Server, path: str, body: bytes | None = None) -> Any:
    """The JSON of a response."""
    headers = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/octet-stream"}
    if body is not None and body.startswith(b"{"):
        headers["Content-Type"] = "application/json"
    asked = urllib.request.Request(f"{server.url}{path}", body, headers)
    with urllib.request.urlopen(asked, timeout=60) as response:
        return json.load(response)


def decide(server: Server, red: int) -> dict[str, Any]:
    """Upload an image once the model is loaded, and decide on it; its card."""
    wait_for(lambda: bool(request(server, "/desk/status")["state"] == "ready"))
    card = request(server, f"/desk/images?name=a{red}.png&source=gallery", image_bytes(red))
    keys = ("model", "revision", "backend")
    made = {
        "image_sha256": card["sha256"],
        "label": "nsfw",
        "threshold": 0.5,
        "nonce": f"n{red}",
        **{key: card[key] for key in keys},
    }
    request(server, "/desk/decisions", json.dumps(made).encode())
    return dict(card)


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something holds, at most for a minute."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_saved(server: Server) -> bool:
    """Whether nothing is left to save."""
    state = request(server, "/desk/heartbeat")["saved"]
    assert state["error"] is None
    return state["pending"] == 0 and not server.rows("select * from hub_changes")


def look_at_the_page(browser: Browser, server: Server, hub: UploadHub) -> None:
    """The page says when everything was saved; during an outage of the hub, what fails."""
    with opened(browser, server.url) as page:
        expect(page.locator("#hub-sync")).to_have_text(re.compile(r"Saved\s*\d+:\d+"))
        expect(page.locator("#model-banner")).to_be_hidden()
        hub.statuses["/commit/"] = 500
        decide(server, 60)
        expect(page.locator("#hub-sync")).to_contain_text("failing")
        expect(page.locator("#model-banner")).to_contain_text(
            re.compile(r"Nothing was saved in org/decisions since .* responded with status 500")
        )
        hub.repositories["org/decisions"].files[".gitignore"] = b"data/"
        hub.statuses.clear()
        expect(page.locator("#model-banner")).to_contain_text(
            re.compile(r"Nothing was saved .* The \.gitignore of org/decisions matches data/"),
            timeout=30_000,
        )
        hub.repositories["org/decisions"].files[".gitignore"] = b"*.log"
        expect(page.locator("#model-banner")).to_be_hidden(timeout=30_000)
    wait_for(lambda: is_saved(server))


def test_a_killed_server_is_restored(browser: Browser, tmp_path: Path) -> None:
    """After SIGKILL and the loss of its disk all that was saved is there; SIGTERM saves it all."""
    with upload_hub() as hub:
        saves_often = ("-c", PROGRAM.format(interval=0.5))
        saves_at_the_end = ("-c", PROGRAM.format(interval=600))
        (tmp_path / "one").mkdir()
        with serving(tmp_path / "one", command=saves_often, **environment(hub)) as server:
            for red in (10, 200):
                decide(server, red)
            wait_for(lambda: is_saved(server))
            look_at_the_page(browser, server, hub)
            log, scores = server.rows(LOG), server.rows("select * from predictions")
            os.kill(server.process.pid, signal.SIGKILL)
            server.process.wait(30)
        assert len(log) == 3
        shutil.rmtree(server.data)
        with serving(tmp_path / "one", command=saves_at_the_end, **environment(hub)) as server:
            assert "restored from org/decisions: 3 decisions and undos" in server.log.read_text()
            assert server.rows(LOG) == log
            assert server.rows("select * from predictions") == scores
            again = decide(server, 100)
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(30) == -signal.SIGTERM
        files = hub.repositories["org/decisions"].files
        images = [
            row["image_sha256"]
            for path in sorted(files)
            if path.endswith(".parquet")
            for row in pq.read_table(io.BytesIO(files[path])).to_pylist()
            if row["kind"] == "decision"
        ]
        assert images == [*(row["image_sha256"] for row in log), again["sha256"]]
