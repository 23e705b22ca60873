"""Endurance of the queue through restarts: nothing is lost, nothing is recorded twice.

    python -m benchmarks.soak [IMAGES] [--restart-every N]

A scripted browser decides about every image of a queue while the server is killed and started again
at the same address. Prints one JSON object, and exits 1 unless the log holds exactly the decisions
that were made. It starts servers of its own on 127.0.0.1 and ends by itself.
"""

import argparse
import contextlib
import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from benchmarks.shift import fill
from tests.support.browser import CHROMIUM_FLAGS, open_tab
from tests.support.server import Server, free_port, serving

IMAGES = 2000
RESTART_EVERY = 300
AFTER_THE_KILL = 3  # decisions made while the server is down; after five the page waits
NAME = "#queue-stage figcaption .name"
# Decides by key, and waits for the next image each time; returns the names.
DECIDE = """async ([count, selector]) => {
  const name = () => document.querySelector(selector)?.title
  const press = (key) =>
    document.body.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }))
  const names = []
  while (names.length < count) {
    const before = name()
    if (!before) {
      await new Promise(requestAnimationFrame)
      continue
    }
    press('1')
    const start = performance.now()
    while (name() === before && performance.now() < start + 60_000) {
      await new Promise(requestAnimationFrame)
      // In an outage the desk stays after five decisions: go on by arrow key.
      const offline = document.querySelector('#connection').dataset.state === 'offline'
      if (offline && name() === before && performance.now() > start + 500) press('ArrowRight')
    }
    if (name() === before) {
      const said = document.querySelector('#queue-decision').textContent
      throw new Error(`${before} stays on the stage: ${said}`)
    }
    names.push(before)
  }
  return names
}"""


@contextlib.contextmanager
def killed_at_the_end(folder: Path, port: int) -> Iterator[Server]:
    """A server that is ended without notice when the block ends."""
    # Every image is in the review band; in an outage no image can be revealed.
    with serving(
        folder,
        port=port,
        NSFW_REVIEW_FROM="0",
        NSFW_REVIEW_TO="1",
        NSFW_ANSWERS="review=1",
        NSFW_REQUIRE_SEEN="none",
    ) as server:
        yield server
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()


def soak(page: Page, folder: Path, *, images: int, restart_every: int) -> dict[str, object]:
    """Decide about all images of a new queue; what was found in the log afterwards."""
    port = free_port()
    names: list[str] = []
    restarts = 0
    start = time.monotonic()
    while True:
        with killed_at_the_end(folder, port) as server:
            if restarts == 0:
                fill(server, images + 2 * AFTER_THE_KILL)
                page.goto(server.url)
                open_tab(page, "Queue")
            else:
                expect(page.locator("#connection")).to_have_attribute(
                    "data-state", "online", timeout=60_000
                )
            expect(page.locator(NAME)).to_be_visible(timeout=60_000)
            count = min(restart_every, images - len(names))
            names += page.evaluate(DECIDE, [count, NAME])
            if len(names) >= images:
                page.wait_for_function(
                    "Object.keys(localStorage).every((key) => !key.includes(':unsaved:'))",
                    timeout=60_000,
                )
                rows = [
                    row["name"]
                    for row in server.rows("select name from correction_log order by decision_id")
                ]
                break
        expect(page.locator("#connection")).to_have_attribute("data-state", "offline")
        names += page.evaluate(DECIDE, [min(AFTER_THE_KILL, images - len(names)), NAME])
        restarts += 1
    return {
        "decided": len(names),
        "restarts": restarts,
        "rows": len(rows),
        "lost": len(set(names) - set(rows)),
        "doubled": len(rows) - len(set(rows)),
        "in_order": rows == names,
        "seconds": round(time.monotonic() - start),
    }


def main(images: int, restart_every: int) -> int:
    """Run it in Chromium and print what was found; the exit status."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=CHROMIUM_FLAGS
        )
        found = soak(browser.new_page(), Path(folder), images=images, restart_every=restart_every)
        browser.close()
    print(json.dumps(found, indent=2))
    whole = found["lost"] == found["doubled"] == 0 and found["rows"] == found["decided"]
    return 0 if whole else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Endurance of the queue through restarts.")
    parser.add_argument("images", nargs="?", type=int, default=IMAGES)
    parser.add_argument("--restart-every", type=int, default=RESTART_EVERY)
    arguments = parser.parse_args()
    sys.exit(main(arguments.images, arguments.restart_every))
