"""Endurance of the page: a scripted browser reviews thousands of images.

    python -m benchmarks.shift [IMAGES]

Prints one JSON object: the time from a key press to the next image (over the first 200 and over
all), the memory of page and server over time, and the time that a grid of 500 cards takes for a
step of the slider and for a selection. Nothing fails on a slow machine. It starts a server of its
own on 127.0.0.1 and ends by itself.
"""

import argparse
import io
import json
import tempfile
import urllib.parse
import urllib.request
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import CDPSession, FilePayload, Page, expect, sync_playwright

from tests.support.browser import open_tab
from tests.support.server import Server, serving

IMAGES = 2000
SAMPLES = 10
FIRST_IMAGES = 200
# Presses a key, and waits for the next image's placeholder to be decoded and painted.
REVIEW = """async (count) => {
  const stage = document.querySelector('#queue-stage')
  const name = () => stage.querySelector('figcaption .name')?.title
  const frame = () => new Promise(requestAnimationFrame)
  const times = []
  for (let n = 0; n < count; n += 1) {
    const before = name()
    const start = performance.now()
    document.body.dispatchEvent(new KeyboardEvent('keydown', { key: 'a', bubbles: true }))
    while (!name() || name() === before) await frame()
    await stage.querySelector('.placeholder').decode()
    await frame()
    times.push(performance.now() - start)
  }
  return times
}"""

CARDS = 500
# Measures style and layout of each input; pending layout is done before the clock starts.
GRID = """async () => {
  const cards = [...document.querySelectorAll('#grid .card')]
  const click = (card, keys) =>
    card.querySelector('.name').dispatchEvent(new MouseEvent('click', { bubbles: true, ...keys }))
  const field = document.querySelector('#gallery-threshold input[type=number]')
  const slide = (at) => {
    const judged = new Promise((done) => new MutationObserver((_, observer) => {
      observer.disconnect()
      done()
    }).observe(document.querySelector('#grid'), {
      subtree: true, childList: true, attributes: true, characterData: true }))
    field.value = String(0.3 + at / 100)
    field.dispatchEvent(new Event('input', { bubbles: true }))
    return judged
  }
  const select = (at) =>
    at % 2 ? click(cards[0], {}) : click(cards[499 - at], { shiftKey: true })
  const p95 = async (input) => {
    const times = []
    for (let at = 0; at < 40; at += 1) {
      await new Promise(requestAnimationFrame)
      document.body.getBoundingClientRect() // pending layout is not measured
      const start = performance.now()
      await input(at)
      document.body.getBoundingClientRect() // its own style and layout are
      times.push(performance.now() - start)
    }
    return times.sort((a, b) => a - b)[37]
  }
  return { slider: await p95(slide), selection: await p95(select) }
}"""


def main(images: int) -> None:
    """Fill the queue, review it, and print the numbers as JSON."""
    with (
        tempfile.TemporaryDirectory() as folder,
        # Every image is in the review band, and is decided without a look.
        serving(
            Path(folder), NSFW_REVIEW_FROM="0", NSFW_REVIEW_TO="1", NSFW_REQUIRE_SEEN="none"
        ) as server,
    ):
        fill(server, images + 10)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path="/usr/bin/chromium",
                args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
            )
            page = browser.new_page()
            page.goto(server.url)
            measured = {**review_queue(server, page, images), "grid_p95_ms": grid(server, page)}
            print(json.dumps(measured, indent=2))
            browser.close()


def fill(server: Server, images: int) -> None:
    """Classify different small images; all of them enter the queue."""
    done = 0
    while done < images:
        query = urllib.parse.urlencode({"name": f"{done}.png", "source": "endurance"})
        request = urllib.request.Request(f"{server.url}/desk/images?{query}", data=noise_png(done))
        with urllib.request.urlopen(request, timeout=60) as response:
            done += json.load(response)["error"] is None


def noise_png(number: int) -> bytes:
    """A small PNG of soft noise, different for each number."""
    noise = np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize((160, 120)).save(buffer, "PNG")
    return buffer.getvalue()


def grid(server: Server, page: Page) -> dict[str, float]:
    """95th percentile, in milliseconds, of the response of a gallery of 500 cards to input."""
    page.goto(server.url)
    open_tab(page, "Gallery")
    files: list[FilePayload] = [
        {"name": f"{number}.png", "mimeType": "image/png", "buffer": noise_png(number)}
        for number in range(CARDS)
    ]
    page.locator("#gallery-upload input[type=file]").set_input_files(files)
    expect(page.locator("#gallery-tools")).to_contain_text(
        f"Done: {CARDS} of {CARDS}", timeout=120_000
    )
    times = page.evaluate(GRID)
    page.get_by_label("Order").select_option("nearest")
    times["slider_when_ordered_by_nearness"] = page.evaluate(GRID)["slider"]
    return {name: round(ms, 1) for name, ms in times.items()}


def review_queue(server: Server, page: Page, images: int) -> dict[str, object]:
    """Review images one after the other; returns times and memory."""
    open_tab(page, "Queue")
    expect(page.locator("#queue-stage figcaption .name")).to_be_visible()
    tools = page.context.new_cdp_session(page)
    times: list[float] = []
    memory = [memory_of(server, tools, 0)]
    for part in range(SAMPLES):
        times += page.evaluate(REVIEW, images // SAMPLES)
        memory.append(memory_of(server, tools, (part + 1) * images // SAMPLES))
    expect(page.locator("#unsaved")).to_be_hidden()
    (decided,) = server.rows("select count(*) as n from decisions")
    first = times[:FIRST_IMAGES]
    return {
        "images": len(times),
        "decisions_on_disk": decided["n"],
        "key_to_next_image_ms": {
            f"p{share}": round(float(np.percentile(first, share)), 1) for share in (50, 95)
        },
        "over_all_ms": {
            f"p{share}": round(float(np.percentile(times, share)), 1) for share in (50, 95, 99)
        },
        "memory": memory,
    }


def memory_of(server: Server, tools: CDPSession, reviewed: int) -> dict[str, float]:
    """Megabytes of the page's heap after a collection, and of the server."""
    tools.send("HeapProfiler.collectGarbage")
    heap = tools.send("Runtime.getHeapUsage")["usedSize"] / 1e6
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    rss_kb = next(int(line.split()[1]) for line in status.splitlines() if "VmRSS" in line)
    return {"reviewed": reviewed, "page_mb": round(heap, 1), "server_mb": round(rss_kb / 1e3)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Endurance of the page.")
    parser.add_argument("images", nargs="?", type=int, default=IMAGES)
    main(parser.parse_args().images)
