"""Every tab with photographs at each size: nothing overlaps or leaves the screen; forced colors."""

import io
from collections.abc import Iterator

import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from tests.support.browser import open_tab, opened, resize
from tests.support.sample_page import GALLERY, sample_page, walk
from tests.support.screenshots import SIZES
from tests.support.server import Server

# Texts and controls that cover one another. What floats above the page on purpose is left out:
# bars that stick to an edge, which a test of low screens is about, and controls on an image.
OVERLAPS = """() => {
  const controls = 'button, a[href], input, select, textarea, summary, [role="tab"]'
  const floats = (node) => {
    for (let up = node; up; up = up.parentElement) {
      const style = getComputedStyle(up)
      if (['fixed', 'sticky'].includes(style.position) || up.matches('.preview, .card-preview'))
        return true
      if (style.opacity === '0' || style.visibility === 'hidden') return true
    }
    return false
  }
  const clipped = (node, rect) => {
    let { left, top, right, bottom } = rect
    for (let up = node; up; up = up.parentElement) {
      if (getComputedStyle(up).overflow === 'visible') continue
      const box = up.getBoundingClientRect()
      left = Math.max(left, box.left)
      top = Math.max(top, box.top)
      right = Math.min(right, box.right)
      bottom = Math.min(bottom, box.bottom)
    }
    return { left, top, right, bottom }
  }
  const items = []
  const add = (node, rect) => {
    const box = clipped(node, rect)
    if (box.right - box.left > 2 && box.bottom - box.top > 2 && !floats(node))
      items.push({ node, ...box })
  }
  for (const node of document.querySelectorAll(controls))
    if (node.checkVisibility()) add(node, node.getBoundingClientRect())
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  while (texts.nextNode()) {
    const { parentElement: parent } = texts.currentNode
    if (!texts.currentNode.data.trim() || !parent?.checkVisibility()) continue
    const range = document.createRange()
    range.selectNodeContents(texts.currentNode)
    add(parent, range.getBoundingClientRect())
  }
  const found = []
  const SLACK = 3 // pixels: line boxes of neighbors may touch
  for (const [at, a] of items.entries())
    for (const b of items.slice(at + 1))
      if (
        Math.min(a.right, b.right) - Math.max(a.left, b.left) > SLACK &&
        Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > SLACK &&
        !a.node.contains(b.node) && !b.node.contains(a.node)
      )
        found.push([a, b].map(({ node }) => node.outerHTML.slice(0, 90)).join(' / '))
  return found
}"""
# The tools with 500 files: the text, and whether files are being sent. Returns by how much they
# exceed the line.
TOOLS = {"Done: 500 of 500": False, "Stopped: 488 of 500": False, "Waiting: 488 of 500": True}
FORCE_TOOLS = """([words, sending]) => {
  const line = document.querySelector('#gallery-tools .tool-line')
  const counts = [500, 288, 200, 100, 100]
  line.querySelectorAll('.chip').forEach((chip, at) => {
    chip.textContent = chip.textContent.replace(/\\d+/, String(counts[at]))
  })
  line.querySelector('.progress-text').textContent = words
  line.querySelector('progress').hidden = !sending
  line.querySelector('#stop').disabled = !sending
  return line.scrollWidth - line.clientWidth
}"""
# In how many colors the review band is drawn: on the bar, and in the legend.
BANDS = """() => new Set(['score-band', 'legend-band'].map((name) => {
  const part = document.querySelector(`#review-verdict .${name}`)
  return getComputedStyle(part).backgroundColor
})).size"""
FITS = "() => document.scrollingElement.scrollWidth <= window.innerWidth"
LOW = SIZES["720x450"]
SIDEWAYS = """() => ['#gallery-toolbar', '.tool-line', '.chips']
  .filter((selector) => {
    const { scrollWidth, clientWidth } = document.querySelector(selector)
    return scrollWidth > clientWidth
  })"""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A page with photographs in every tab."""
    with sample_page(tmp_path_factory.mktemp("layout")) as server:
        yield server


def test_nothing_overlaps_or_leaves_the_screen(browser: Browser, app: Server) -> None:
    """No tab scrolls sideways at any size, and no text or control covers another."""
    with opened(browser, app.url) as page:
        for tab in walk(page):
            for size, viewport in SIZES.items():
                resize(page, **viewport)
                page.wait_for_function(FITS)
                assert page.evaluate(OVERLAPS) == [], f"{tab} at {size}"


def is_on_screen(element: Locator) -> bool:
    """Whether the whole element is in the viewport, and nothing covers its center."""
    return bool(
        element.evaluate(
            """element => {
              const { left, top, right, bottom } = element.getBoundingClientRect()
              const front = document.elementFromPoint((left + right) / 2, (top + bottom) / 2)
              return left > -1 && right < innerWidth + 1 && top > -1 && bottom < innerHeight + 1 &&
                (element.contains(front) || front.contains(element))
            }"""
        )
    )


def test_a_low_screen_shows_an_image_with_its_buttons(browser: Browser, app: Server) -> None:
    """At 200 % zoom no bar sticks, and each tab's image is whole on screen with what decides it.

    The Queue's is so without scrolling.
    """
    shown = {
        "Review": ("#review-preview .preview", "#agree", "#disagree"),
        "Gallery": ("#grid .card", "#grid .card .agree", "#grid .card .disagree"),
        "Queue": (
            "#queue-stage .preview",
            "#queue-decision .decision-buttons",
        ),
        "Relabel": ("#relabel .card", "#relabel .quick"),
    }
    with opened(browser, app.url) as page:
        for tab in walk(page):
            if tab not in shown:
                continue
            resize(page, **LOW)
            page.wait_for_function(FITS)
            stuck = page.evaluate(
                """() => [...document.querySelectorAll('.gradio-container *')]
                  .filter((node) => node.checkVisibility() && node.offsetHeight > 0)
                  .filter((node) => /fixed|sticky/.test(getComputedStyle(node).position))
                  .map((node) => node.id || node.className)"""
            )
            assert stuck == [], tab
            image, *buttons = (page.locator(selector).first for selector in shown[tab])
            if tab == "Queue":
                page.evaluate("() => window.scrollTo(0, 0)")
            else:
                image.evaluate("element => element.scrollIntoView({ block: 'start' })")
            assert is_on_screen(image), tab
            assert [is_on_screen(button) for button in buttons] == [True] * len(buttons), tab


def pixels(element: Locator) -> dict[tuple[int, int, int], int]:
    """How many pixels of each color an element has on the screen."""
    image = Image.open(io.BytesIO(element.screenshot())).convert("RGB")
    return {color: count for count, color in image.getcolors(image.width * image.height) or []}


def share_of_highlight(page: Page, element: Locator) -> float:
    """The share of an element's pixels that have the system's color of selected things."""
    page.evaluate(
        """() => {
          const probe = document.createElement('i')
          probe.id = 'probe'
          probe.style.cssText = 'forced-color-adjust: none; background: Highlight; z-index: 99;' +
            'position: fixed; top: 0; left: 0; width: 8px; height: 8px'
          const top = document.querySelector('dialog[open]') ?? document.body
          top.append(probe)
        }"""
    )
    probe = page.locator("#probe")
    (highlight,) = pixels(probe)
    probe.evaluate("element => element.remove()")
    counts = pixels(element)
    return counts.get(highlight, 0) / sum(counts.values())


# Selectors of media queries that Gradio limits to its own container, and that mean dialogs, which
# are children of the body: each has to be nested in a rule of its own.
OUT_OF_REACH = r"""() => {
  const prefix = /^\.gradio-container\S* \.contain /
  const rules = (list) => [...list].flatMap((rule) =>
    rule instanceof CSSMediaRule ? [...rule.cssRules] : [])
  return [...document.styleSheets]
    .flatMap((sheet) => rules(sheet.cssRules))
    .flatMap((rule) => (rule.selectorText ?? '').split(/, (?=\.gradio)/))
    .filter((selector) => prefix.test(selector))
    .map((selector) => selector.replace(prefix, '').replace(/::[\w-]+$/, ''))
    .filter((selector) => document.querySelector(`body > :not(gradio-app) ${selector}`) ||
      document.querySelector(`body > ${selector}`))
}"""


def test_forced_colors_show_what_is_chosen(browser: Browser, app: Server) -> None:
    """Selection, pressed buttons, the slider, the open tab differ by more than a background."""
    with opened(browser, app.url, forced_colors="active") as page:
        assert page.evaluate(BANDS) == 1
        open_tab(page, "Gallery")
        page.locator("#gallery-upload input[type=file]").set_input_files(GALLERY[:4])
        expect(page.locator("#grid .card")).to_have_count(4)
        tab = page.get_by_role("tab", name="Gallery")
        assert share_of_highlight(page, tab) > 0.01
        assert share_of_highlight(page, page.get_by_role("tab", name="Log")) == 0
        cards = page.locator("#grid .card")
        cards.nth(3).focus()
        page.keyboard.press("1")
        expect(cards.and_(page.locator("[data-decision=agree]"))).to_have_count(1)
        pressed = page.locator("#grid .quick[aria-pressed=true]")
        assert share_of_highlight(page, pressed) > 0.3
        assert share_of_highlight(page, page.locator("#grid .quick[aria-pressed=false]").first) == 0
        cards.nth(0).locator(".card-preview").click()
        assert share_of_highlight(page, cards.nth(0).locator(".card-preview")) > 0.03
        assert share_of_highlight(page, cards.nth(1).locator(".card-preview")) == 0
        slider = page.locator("#gallery-threshold input[type=range]")
        assert share_of_highlight(page, slider) > 0.01
        score = page.locator("#grid .score-bar").first
        assert share_of_highlight(page, score) > 0
        page.keyboard.press("?")
        keys = page.locator("dialog[open] button.key")
        keys.first.click()
        expect(keys.first).to_have_attribute("aria-pressed", "true")
        keys.nth(1).hover()
        assert share_of_highlight(page, keys.first) > 0.3
        assert share_of_highlight(page, keys.nth(1)) == 0
        assert page.evaluate(OUT_OF_REACH) == []


def test_little_is_above_the_first_image(browser: Browser, app: Server) -> None:
    """Tabs of images begin with one; no tool of the Gallery is cut, at 1440 px in one line."""
    images = {
        "Gallery": "#grid .card .preview",
        "Queue": "#queue-stage .preview",
        "Relabel": "#relabel .card .preview",
    }
    with opened(browser, app.url) as page:
        open_tab(page, "Gallery")
        resize(page, **SIZES["390x844"])
        folder = page.locator("#gallery-tools .folder")
        expect(folder).to_be_visible()
        assert is_on_screen(folder)
        for tab in walk(page):
            if tab not in images:
                continue
            for size, most in (("390x844", 90), ("1440x900", 120)):
                resize(page, **SIZES[size])
                page.wait_for_function(FITS)
                page.evaluate("() => window.scrollTo(0, 0)")
                box = page.locator(images[tab]).first.bounding_box()
                assert box is not None
                assert box["y"] <= most, f"{tab} at {size}"
                if tab == "Gallery":
                    assert is_on_screen(folder)
                    assert page.evaluate(SIDEWAYS) == [], size
            if tab == "Gallery":
                page.locator("#gallery-threshold input[type=number]").fill("0.55")
                assert is_on_screen(page.locator("#gallery-threshold input[type=number]"))
                slider = page.locator("#gallery-threshold input[type=range]").bounding_box()
                assert slider is not None
                assert slider["width"] >= 100
                assert page.evaluate(OVERLAPS) == []
                expect(page.locator("#gallery-tools .progress-text")).to_contain_text("Done")
                for words, sending in TOOLS.items():
                    assert page.evaluate(FORCE_TOOLS, [words, sending]) <= 0, words
