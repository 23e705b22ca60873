"""The heat map in Chromium: on request, its progress, its place on the image, its text."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, Request, Route, expect

from tests.browser.test_accessibility import findings
from tests.browser.test_layout import FITS, OVERLAPS
from tests.support.browser import intercept, open_tab, opened, requests_of, resize
from tests.support.server import Server

SAMPLES = Path(__file__).parents[2] / "nsfw_app/ui/assets/review/samples"
ROUTES = re.compile("/desk/(images/[0-9a-f]{64}/explanation|explanations/)")
SENTENCE = "Covering the marked area lowers the score from 0.84 to 0.31."
MARKED = "Marked area: upper right, 25 % of the image."
EXPLANATION = {
    "method": "occlusion",
    "rows": 2,
    "columns": 4,
    "values": [[0, 0.2, 0.6, 1], [0, 0, 0.1, 0.3]],
    "marked": [[False, False, True, True], [False] * 4],
    "informative": True,
    "score": 0.84,
    "sentence": SENTENCE,
}
DONE = {"status": "done", "progress": 1, "id": "1", "explanation": EXPLANATION, "error": None}
RUNNING = {"status": "running", "progress": 0.4, "id": "1", "explanation": None, "error": None}
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUB"
    "AScY42YAAAAASUVORK5CYII="
)
BLIND = {
    "name": "blind.png",
    "sha256": "0" * 64,
    "entry_id": 1,
    "nsfw_score": None,
    "label": None,
    "action": "review",
    "error": None,
    "width": 4,
    "height": 3,
    "placeholder": PIXEL,
    "kept": False,
    "model": "m",
    "revision": "r",
    "backend": "b",
}
# By how many pixels of the screen the corners of the map's view box are off the image's.
OFFSET = """preview => {
  const map = preview.querySelector('.heat-map')
  const pixels = preview.querySelector('.real')
  const { width, height } = map.viewBox.baseVal
  const place = map.getScreenCTM()
  const box = pixels.getBoundingClientRect()
  const scale = Math.min(box.width / width, box.height / height)
  const left = box.left + (box.width - width * scale) / 2
  const top = box.top + (box.height - height * scale) / 2
  return Math.max(
    Math.abs(place.e - left),
    Math.abs(place.f - top),
    Math.abs(place.a - scale) * width,
    Math.abs(place.d - scale) * height,
  )
}"""


@pytest.fixture
def scripted(page: Page) -> Page:
    """The page with an explanation of each image that a test can predict."""
    intercept(page, ROUTES, lambda route: route.fulfill(json=DONE))
    return page


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """A landscape, a portrait and a small image."""
    paths = []
    for name, size in (("a wide.jpg", (900, 400)), ("b tall.jpg", (300, 800)), ("c.jpg", (60, 50))):
        with Image.open(SAMPLES / "cat.jpg") as image:
            image.resize(size).save(tmp_path / name)
        paths.append(tmp_path / name)
    return paths


def show(page: Page, file: Path = SAMPLES / "astronaut.jpg") -> Locator:
    """Show an image in the Review tab; its preview."""
    page.locator("#image-input input[type=file]").set_input_files(file)
    expect(page.locator("#agree")).to_be_enabled()
    return page.locator("#review-preview .preview")


def text(page: Page) -> Locator:
    """The text about the heat map in the Review tab."""
    return page.locator("#review-decision .explanation-text")


def reveal(page: Page, preview: Locator) -> None:
    """Hold the key that reveals until the pixels are there."""
    page.keyboard.down("v")
    expect(preview.locator(".real")).to_have_js_property("complete", value=True)


def asked(requests: list[Request]) -> list[str]:
    """The methods of the requests about explanations."""
    return [request.method for request in requests if ROUTES.search(request.url)]


def test_a_photograph_is_explained_by_the_server(page: Page) -> None:
    """Nothing is computed unasked; then a ring, the sentence and, where it is evidence, a map."""
    requests = requests_of(page)
    preview = show(page)
    assert asked(requests) == []
    page.keyboard.press("h")
    expect(page.get_by_role("progressbar", name="Heat map")).to_have_count(0, timeout=30_000)
    expect(text(page)).to_have_text(re.compile(r"\bscore\b.*\.$"))
    answer = requests[-1].response()
    assert answer is not None
    explanation = answer.json()["explanation"]
    assert explanation["sentence"] in (text(page).text_content() or "")
    expect(preview.locator(".heat-map")).to_have_count(1 if explanation["informative"] else 0)
    expect(preview.locator(".real")).to_have_count(0)
    page.keyboard.press("Space")
    expect(page.locator("#review-decision .explanation")).to_be_hidden()
    page.keyboard.press("Backspace")
    expect(preview).to_be_visible()
    expect(page.locator("#review-decision .explanation")).to_be_hidden()
    requests.clear()
    page.keyboard.press("h")
    expect(text(page)).to_contain_text(explanation["sentence"])
    assert asked(requests) == ["POST"]  # from the cache


def test_the_map_lies_on_the_image(scripted: Page, files: list[Path]) -> None:
    """Over the placeholder and the pixels, in panel, card and loupe, at each size and zoom."""
    page = scripted
    for file in files[:2]:
        preview = show(page, file)
        page.keyboard.press("h")
        expect(preview.get_by_role("img", name=MARKED)).to_be_visible()
        expect(preview.locator(".real")).to_have_count(0)
        reveal(page, preview)
        for width, height in ((1440, 900), (390, 844), (720, 450)):
            resize(page, width, height)
            page.wait_for_function(FITS)
            assert preview.evaluate(OFFSET) < 1, (file.name, width)
        page.keyboard.up("v")
        expect(preview.locator(".real")).to_have_count(0)
        expect(preview.locator(".heat-map")).to_be_visible()
        resize(page, 1440, 900)
        page.keyboard.press("h")
        expect(preview.locator(".heat-map")).to_have_count(0)
    open_tab(page, "Gallery")
    page.locator("#gallery-upload input[type=file]").set_input_files(files)
    cards = page.locator("#grid .card")
    expect(cards).to_have_count(3, timeout=30_000)
    page.get_by_label("Order").select_option("name")
    cards.first.focus()
    for at in range(3):
        preview = cards.nth(at).locator(".preview")
        page.keyboard.press("h")
        expect(preview.locator(".heat-map")).to_be_visible()
        expect(page.locator(".gallery-footer .explanation")).to_contain_text(SENTENCE)
        reveal(page, preview)
        assert preview.evaluate(OFFSET) < 1, at
        page.keyboard.up("v")
        page.keyboard.press("Enter")
        preview = page.locator(".loupe .preview")
        expect(preview.locator(".heat-map")).to_be_visible()
        for _ in range(6):
            page.keyboard.press("+")
        expect(page.locator(".loupe-percent")).to_have_text("200 %")
        reveal(page, preview)
        assert preview.evaluate(OFFSET) < 1, at
        page.keyboard.up("v")
        page.keyboard.press("ArrowRight")
        if at < 2:
            expect(page.locator(".heat-map")).to_have_count(0)
        page.keyboard.press("Enter")


@pytest.fixture
def held(page: Page) -> Iterator[list[Route]]:
    """Polls that wait until a test answers them; the first answer is that it is running."""
    waiting: list[Route] = []

    def answer(route: Route) -> None:
        if route.request.method == "POST":
            route.fulfill(json=RUNNING)
        elif route.request.method == "GET":
            waiting.append(route)
        else:
            route.fulfill(json={**RUNNING, "status": "cancelled"})

    intercept(page, ROUTES, answer)
    yield waiting
    page.unroute(ROUTES)


def poll_of(page: Page, held: list[Route]) -> Route:
    """The poll that waits, once it has arrived."""
    while not held:
        page.evaluate("() => new Promise(requestAnimationFrame)")
    return held.pop()


def test_a_computation_is_cancelled(page: Page, held: list[Route]) -> None:
    """By Escape, by the key, by the button, and by the next image; what comes late is dropped."""
    preview = show(page)
    ring = page.get_by_role("progressbar", name="Heat map")
    button = page.get_by_role("button", name="Heat map")
    before = preview.bounding_box()
    for cancel in (
        lambda: page.keyboard.press("Escape"),
        lambda: page.keyboard.press("h"),
        button.click,
        lambda: page.keyboard.press("Space"),
    ):
        page.keyboard.press("h")
        expect(ring).to_have_attribute("aria-valuenow", "40")
        expect(text(page)).to_have_text("Computing the heat map. H or Esc cancels.")
        expect(button).to_have_attribute("aria-pressed", "true")
        assert preview.bounding_box() == before
        poll = poll_of(page, held)
        with page.expect_request(lambda request: request.method == "DELETE") as deleted:
            cancel()
        assert deleted.value.url.endswith("/desk/explanations/1")
        expect(ring).to_have_count(0)
        poll.fulfill(json=RUNNING)
    expect(page.locator(".welcome")).to_be_visible()
    page.keyboard.press("Backspace")
    page.keyboard.press("h")
    poll = poll_of(page, held)
    page.keyboard.press("1")
    expect(page.locator("#review-decision .saved")).to_contain_text("Saved: normal")
    expect(page.locator("#review-decision .explanation")).to_be_hidden()
    poll.fulfill(json=DONE)
    page.keyboard.press("h")
    expect(ring).to_be_visible()
    expect(page.locator(".heat-map")).to_have_count(0)


def test_nothing_moves_when_the_map_arrives(page: Page, held: list[Route]) -> None:
    """Image, buttons and text keep their places from the key press to the answer."""
    show(page)
    page.keyboard.press("h")
    parts = ["#review-preview .preview", "#agree", ".explanation", "#probabilities"]
    places = [page.locator(part).locator("visible=true").bounding_box() for part in parts]
    poll_of(page, held).fulfill(json=DONE)
    score = page.locator("#review-verdict .score-number").text_content()
    scores = f"The explained preview scores 0.840, the image {score}."
    expect(text(page)).to_have_text(f"{SENTENCE} {MARKED} {scores}")
    for part, place in zip(parts, places, strict=True):
        assert page.locator(part).locator("visible=true").bounding_box() == place, part


def test_failures_are_sentences_in_place(browser: Browser, server: Server) -> None:
    """What the server refuses is said, and the next press asks again."""
    with opened(browser, server.url, outage=True) as page:
        answers = [
            {"status": 503, "json": {"error": {"kind": "overloaded", "message": "All busy."}}},
            {"json": {**RUNNING, "status": "failed", "error": {"kind": "x", "message": "No."}}},
            {"json": {**DONE, "explanation": {**EXPLANATION, "informative": False}}},
        ]
        intercept(page, ROUTES, lambda route: route.fulfill(**answers.pop(0)))
        preview = show(page)
        page.keyboard.press("h")
        expect(text(page)).to_have_text("No heat map. All busy.")
        page.keyboard.press("h")
        expect(text(page)).to_have_text("No heat map. No.")
        page.keyboard.press("h")
        expect(text(page)).to_have_text(SENTENCE)  # no better than random: no colors
        expect(preview.locator(".heat-map")).to_have_count(0)
        expect(page.locator("#review-decision .heat-scale")).to_be_hidden()


def test_a_hidden_score_has_no_heat_map(page: Page) -> None:
    """In a blind review the button says why, and nothing is requested."""
    intercept(
        page,
        "**/desk/queue/claim",
        lambda route: route.fulfill(json={"waiting": 1, "items": [BLIND]}),
    )
    requests = requests_of(page)
    open_tab(page, "Queue")
    button = page.locator("#queue-stage .explain")
    expect(button).to_have_attribute("aria-disabled", "true")
    expect(button).to_have_attribute("title", re.compile("hidden score"))
    page.keyboard.press("h")
    expect(page.locator("#queue-decision .saved")).to_contain_text("would show the hidden score")
    button.click(force=True)
    assert asked(requests) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_maps_are_accessible_and_fit(browser: Browser, server: Server, scheme: str) -> None:
    """axe-core finds nothing; no text covers another; the outline is there in forced colors."""
    with opened(browser, server.url, color_scheme=scheme) as page:
        intercept(page, ROUTES, lambda route: route.fulfill(body=json.dumps(DONE)))
        show(page)
        page.keyboard.press("h")
        expect(text(page)).to_contain_text(SENTENCE)
        found = findings(page, "Review")
        for width, height in ((390, 844), (720, 450), (1440, 900)):
            resize(page, width, height)
            page.wait_for_function(FITS)
            assert page.evaluate(OVERLAPS) == [], width
        open_tab(page, "Gallery")
        page.locator("#gallery-upload input[type=file]").set_input_files(SAMPLES / "cat.jpg")
        page.locator("#grid .card").first.focus()
        page.keyboard.press("h")
        expect(page.locator(".gallery-footer .explanation")).to_contain_text(SENTENCE)
        found += findings(page, "Gallery")
        page.keyboard.press("Enter")
        expect(page.locator(".loupe .explanation")).to_contain_text(SENTENCE)
        found += findings(page, "Loupe")
        page.emulate_media(forced_colors="active")
        outline = page.locator(".loupe .heat-outline:not(.casing)")
        expect(outline).to_have_css("stroke", "rgb(255, 255, 255)")
        assert found == []
