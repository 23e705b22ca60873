"""Reviewer wellness in Chromium: blur, reveal counter, pause reminder, policy text."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, Route, expect

from nsfw_app.ui.policy_text import WORD_JOINER
from tests.support.browser import open_tab, opened, requests_of, resize
from tests.support.server import Server, serving

PAUSE_AFTER = 3
FILTER = "image => getComputedStyle(image).filter"
HOSTILE = """# What is unsafe

Judge **what is shown**. See [the handbook](https://example.org/handbook).

<script>window.hacked = 1</script>

Inline <img src=x onerror="window.hacked = 2"> and [a link](javascript:window.hacked=3)
and [a page](data:text/html,<script>window.hacked=4</script>) and ![a drawing](https://example.org/x.png)
and [another place](/desk/status) and <javascript:window.hacked=5>
and [a mailbox](mailto:policy@example.org).

![a figure][figure] and `code <b>bold</b>`

<div class="mermaid">graph TD; A-->B</div>

```mermaid
graph TD; A-->B
```

$$x^2$$

| kind | label |
|---|---|
| art <svg onload="window.hacked = 6"> | normal |

[figure]: https://example.org/y.png
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Five different images of soft noise."""
    directory = tmp_path_factory.mktemp("images")
    paths = [directory / f"image {number}.png" for number in range(5)]
    for seed, path in enumerate(paths, 100):
        noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((320, 240), Image.Resampling.BICUBIC).save(path)
    return paths


@pytest.fixture(scope="module")
def ada(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A page for Ada: a hostile policy text, a pause reminder after three images."""
    directory = tmp_path_factory.mktemp("ada")
    (directory / "policy.md").write_text(HOSTILE)
    with serving(
        directory,
        NSFW_REVIEWER="Ada",
        NSFW_POLICY_TEXT="policy.md",
        NSFW_PAUSE_AFTER=str(PAUSE_AFTER),
    ) as running:
        yield running


@pytest.fixture
def app(browser: Browser, ada: Server) -> Iterator[Page]:
    """Ada's page in its own browser context."""
    with opened(browser, ada.url) as opened_page:
        yield opened_page


def reload(page: Page) -> None:
    """Reload the page once its first requests are done."""
    threshold = page.locator("#review-threshold input[type=number]")
    expect(threshold).to_have_value("0.33")
    page.reload()
    expect(threshold).to_have_value("0.33")


def fill_gallery(page: Page, files: list[Path]) -> Locator:
    """The cards of some files in the Gallery tab."""
    open_tab(page, "Gallery")
    page.locator("#gallery-upload input[type=file]").set_input_files(files)
    cards = page.locator("#grid .card")
    expect(cards).to_have_count(len(files))
    return cards


def viewing(page: Page) -> Locator:
    """The Viewing dialog, opened from the top bar."""
    page.get_by_role("button", name="Viewing").click()
    return page.get_by_role("dialog", name="Viewing")


def close(page: Page) -> None:
    """Close the open dialog."""
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    expect(page.get_by_role("dialog")).to_have_count(0)


def reveal_by_click(page: Page) -> None:
    """Choose to reveal previews by click."""
    viewing(page).get_by_text("On and off by V").click()
    close(page)


def preview(page: Page, card: Locator) -> None:
    """Hold V on a card until its preview has loaded."""
    card.focus()
    page.keyboard.down("v")
    expect(card.locator(".real")).to_be_visible()
    page.wait_for_function(
        "card => card.querySelector('.real').complete", arg=card.element_handle()
    )
    page.keyboard.up("v")
    expect(card.locator(".real")).to_have_count(0)


def test_every_preview_starts_blurred_and_gray(page: Page, files: list[Path]) -> None:
    """An image with the label normal too is a gray placeholder of at most 24 pixels."""
    requests = requests_of(page)
    cards = fill_gallery(page, files)
    expect(cards.first).to_have_attribute("data-label", "normal")
    for placeholder in cards.locator(".placeholder").all():
        assert max(placeholder.evaluate("i => [i.naturalWidth, i.naturalHeight]")) <= 24
        assert placeholder.evaluate(FILTER) == "blur(14px) grayscale(1)"
    assert not [r for r in requests if re.search("/(picture|thumbnail)$", r.url)]


def test_preferences_apply_immediately_and_are_stored(app: Page, files: list[Path]) -> None:
    """Strength, gray and reveal mode change all previews, and the next visit restores them."""
    cards = fill_gallery(app, files[:2])
    dialog = viewing(app)
    dialog.get_by_label("Blur strength").fill("30")
    dialog.get_by_label("Gray while blurred").uncheck()
    for placeholder in cards.locator(".placeholder").all():
        assert placeholder.evaluate(FILTER) == "blur(30px) grayscale(0)"
    dialog.get_by_label("Gray when revealed too").check()
    dialog.get_by_label("On and off by V").check()
    close(app)

    reload(app)
    card = fill_gallery(app, files[2:3]).first
    assert card.locator(".placeholder").evaluate(FILTER) == "blur(30px) grayscale(0)"
    card.locator(".preview").click()
    assert card.locator(".real").evaluate(FILTER) == "grayscale(1)"
    dialog = viewing(app)
    expect(dialog.get_by_label("Blur strength")).to_have_value("30")
    dialog.get_by_role("button", name="Reset to defaults").click()
    expect(dialog.get_by_label("Gray while blurred")).to_be_checked()
    expect(card.locator(".real")).to_have_count(0)
    assert card.locator(".placeholder").evaluate(FILTER) == "blur(14px) grayscale(1)"


def test_preferences_are_stored_per_reviewer(browser: Browser, ada: Server) -> None:
    """In one browser each reviewer has their own preferences."""
    name = "Ada"

    def rename(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, json={**response.json(), "reviewer": name})

    with opened(browser, ada.url) as page:
        page.route("**/desk/status", rename)
        for name, found, chosen in (
            ("Ada", "14", "20"),
            ("Grace", "14", "36"),
            ("Ada", "20", "20"),
        ):
            reload(page)
            expect(page.locator(".topbar")).to_contain_text(name)
            strength = viewing(page).get_by_label("Blur strength")
            expect(strength).to_have_value(found)
            strength.fill(chosen)
        kept = page.evaluate("() => ({ ...localStorage })")
    values = {
        key: json.loads(value) for key, value in kept.items() if key.startswith("nsfw-review")
    }
    assert values["nsfw-review:viewing:Ada"]["blurPx"] == 20
    assert values["nsfw-review:viewing:Grace"]["blurPx"] == 36


@pytest.mark.parametrize("kept", ["no JSON", "null", '{"blurPx": 0, "reveal": "always"}'])
def test_invalid_stored_preferences_become_the_defaults(
    browser: Browser, server: Server, kept: str
) -> None:
    """An invalid stored value cannot turn blur off."""
    stored = [{"name": "nsfw-review:viewing:reviewer", "value": kept}]
    origins = [{"origin": server.url, "localStorage": stored}]
    with opened(browser, server.url, storage_state={"origins": origins}) as page:
        dialog = viewing(page)
        expect(dialog.get_by_label("Blur strength")).to_have_value("14")
        expect(dialog.get_by_label("While V or the button is held")).to_be_checked()


def test_moving_on_hides_revealed_previews(page: Page, files: list[Path]) -> None:
    """A preview revealed by key or click is hidden on moving to another image."""
    cards = fill_gallery(page, files)
    expect(page.locator("#gallery-tools")).to_contain_text(f"Done: {len(files)}")
    reveal_by_click(page)
    real = page.locator("#grid .real")
    cards.nth(0).focus()
    page.keyboard.press("v")
    expect(cards.nth(0).locator(".real")).to_be_visible()
    page.keyboard.press("v")
    expect(real).to_have_count(0)
    for move in ("ArrowRight", "Space", "a", "x"):
        page.keyboard.press("v")
        expect(real).to_have_count(1)
        page.keyboard.press(move)
        expect(real).to_have_count(0)
    cards.nth(0).locator(".preview").click()
    expect(cards.nth(0).locator(".real")).to_be_visible()
    cards.nth(1).locator(".preview").click()
    expect(cards.nth(1).locator(".real")).to_be_visible()
    expect(real).to_have_count(1)
    open_tab(page, "Log")
    expect(real).to_have_count(0)


def test_the_reveal_button_follows_the_preferences(page: Page, files: list[Path]) -> None:
    """In hold mode it reveals while held; in click mode, and by Enter, until pressed again."""
    page.locator("#image-input input[type=file]").set_input_files(files[0])
    button = page.locator("#review-preview").get_by_role("button", name="Hold to see")
    real = page.locator("#review-preview .real")
    button.hover()
    page.mouse.down()
    expect(real).to_be_visible()
    page.mouse.up()
    expect(real).to_have_count(0)
    page.locator("#review-preview .preview").click()
    expect(real).to_have_count(0)
    reveal_by_click(page)
    button = page.locator("#review-preview").get_by_role("button", name="Click to see")
    button.click()
    expect(real).to_be_visible()
    expect(button).to_have_attribute("aria-pressed", "true")
    button.press("Enter")
    expect(real).to_have_count(0)
    expect(button).to_have_attribute("aria-pressed", "false")
    page.locator("#review-preview .preview").click()
    expect(real).to_be_visible()
    page.locator("#image-input input[type=file]").set_input_files(files[1])
    expect(page.locator("#review-preview")).to_contain_text(files[1].name)
    expect(real).to_have_count(0)


def test_a_reload_turns_blur_on_again(page: Page, files: list[Path]) -> None:
    """B reveals all previews, and a reload blurs them again."""
    cards = fill_gallery(page, files[:2])
    cards.first.focus()
    page.keyboard.press("b")
    expect(cards.locator(".real")).to_have_count(2)
    page.keyboard.press("b")
    expect(cards.locator(".real")).to_have_count(0)
    page.keyboard.press("b")
    reload(page)
    expect(fill_gallery(page, files[:2]).locator(".real")).to_have_count(0)


def hide_page(page: Page, *, hidden: bool) -> None:
    """Make the page believe that another browser tab is in front of it, or no longer."""
    page.evaluate(
        """(hidden) => {
          Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden })
          document.dispatchEvent(new Event('visibilitychange'))
        }""",
        hidden,
    )


def test_blur_that_was_turned_off_ends_by_itself(
    browser: Browser, server: Server, files: list[Path]
) -> None:
    """Amber in the top bar on every tab; over after 15 minutes without input or a minute hidden."""
    with opened(browser, server.url, clock=True) as page:
        blur = page.locator("#blur")
        expect(blur).to_have_text("Blur onB")
        page.locator("#image-input input[type=file]").set_input_files(files[0])
        expect(page.locator("#review-preview .placeholder")).to_be_visible()
        real = page.locator("#review-preview .real")
        for tab in ("Log", "Review"):
            open_tab(page, tab)
            if tab == "Log":
                blur.click()
            expect(blur).to_have_text("Blur offB")
            assert blur.evaluate("e => getComputedStyle(e).backgroundColor") == "rgb(230, 159, 0)"
        expect(real).to_be_visible()
        page.evaluate("window.dispatchEvent(new Event('blur'))")  # the window loses the focus
        expect(blur).to_have_attribute("data-state", "off")
        page.clock.fast_forward("14:00")
        page.keyboard.press("Shift")
        page.clock.fast_forward("14:59")
        expect(blur).to_have_attribute("data-state", "off")
        page.clock.fast_forward("00:02")
        expect(blur).to_have_attribute("data-state", "on")
        expect(real).to_have_count(0)
        expect(page.locator(".notice")).to_contain_text("no input")

        blur.click()
        hide_page(page, hidden=True)
        page.clock.fast_forward("00:59")
        hide_page(page, hidden=False)
        expect(blur).to_have_attribute("data-state", "off")
        hide_page(page, hidden=True)
        page.clock.fast_forward("01:01")
        expect(blur).to_have_attribute("data-state", "on")
        expect(real).to_have_count(0)


def test_the_top_bar_is_one_line_on_a_phone(browser: Browser, server: Server) -> None:
    """At 390 pixels facts and tools are in a menu; nothing overflows, also in an outage."""
    with opened(browser, server.url) as page:
        expect(page.locator("#model-banner")).to_be_hidden()
        resize(page, 390, 844)
        bar = page.locator(".topbar")
        assert bar.evaluate("e => e.offsetHeight") <= 40
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        expect(page.get_by_role("button", name="Viewing")).to_be_hidden()
        menu = page.get_by_role("button", name="Menu")
        menu.click()
        expect(menu).to_have_attribute("aria-expanded", "true")
        expect(page.locator("#model-state")).to_be_visible()
        page.get_by_role("button", name="Viewing").click()
        close(page)
        page.evaluate(
            """() => {
              const unsaved = document.querySelector('#unsaved')
              unsaved.hidden = false
              unsaved.textContent = '10 not saved'
            }"""
        )
        assert bar.evaluate("e => e.offsetHeight") <= 40
        assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_the_counter_stores_only_a_day_and_a_number(page: Page, files: list[Path]) -> None:
    """The top bar counts different images per day; the browser stores a day and a number."""
    revealed = page.locator("#revealed-today")
    expect(revealed).to_have_text("0")
    cards = fill_gallery(page, files[:2])
    for card, count in ((cards.nth(0), "1"), (cards.nth(0), "1"), (cards.nth(1), "2")):
        preview(page, card)
        expect(revealed).to_have_text(count)
    open_tab(page, "Review")
    page.locator("#image-input input[type=file]").set_input_files(files[0])
    expect(page.locator("#review-preview .placeholder")).to_be_visible()
    page.keyboard.down("v")
    expect(page.locator("#review-preview .real")).to_be_visible()
    page.wait_for_function("() => document.querySelector('#review-preview .real').complete")
    page.keyboard.up("v")
    expect(revealed).to_have_text("2")
    kept: dict[str, Any] = page.evaluate("() => ({ ...localStorage })")
    ours = {key: json.loads(value) for key, value in kept.items() if key.startswith("nsfw-review")}
    assert list(ours) == ["nsfw-review:revealed:reviewer"]
    assert set(ours["nsfw-review:revealed:reviewer"]) == {"day", "count"}
    reload(page)
    expect(revealed).to_have_text("2")
    page.evaluate(
        """() => localStorage.setItem(
          'nsfw-review:revealed:reviewer', JSON.stringify({ day: '2001-01-01', count: 7 }))"""
    )
    reload(page)
    expect(revealed).to_have_text("0")


def test_the_pause_reminder_blocks_nothing(app: Page, ada: Server, files: list[Path]) -> None:
    """After the configured number a notice appears; focus stays, keys work, it can be dismissed."""
    cards = fill_gallery(app, files)
    expect(app.locator("#gallery-tools")).to_contain_text(f"Done: {len(files)}")
    notice = app.locator(".notice[data-subject=pause]")
    for number in range(PAUSE_AFTER):
        expect(notice).to_have_count(0)
        preview(app, cards.nth(number))
    expect(notice).to_contain_text("3 images revealed today")
    last = cards.nth(PAUSE_AFTER - 1)
    expect(last).to_be_focused()
    app.keyboard.press("a")
    expect(last).to_have_attribute("data-decision", "agree")
    expect(cards.nth(PAUSE_AFTER)).to_be_focused()
    notice.get_by_role("button", name="Dismiss").click()
    expect(notice).to_have_count(0)
    expect(cards.nth(PAUSE_AFTER)).to_be_focused()
    preview(app, cards.nth(PAUSE_AFTER))
    expect(notice).to_have_count(0)


def policy_text(page: Page) -> Locator:
    """The text in its dialog, opened with P and loaded."""
    page.keyboard.press("p")
    text = page.get_by_role("dialog", name="Policy").locator(".policy-text")
    expect(text.get_by_role("heading", name="What is unsafe")).to_be_visible()
    return text


def test_the_policy_text_opens_and_closes_by_key_and_button(app: Page, ada: Server) -> None:
    """P and the top bar's button open the text, P and Escape close it; it is loaded once."""
    requests = requests_of(app)
    text = policy_text(app)
    dialog = app.get_by_role("dialog", name="Policy")
    expect(text.locator("strong")).to_have_text("what is shown")
    app.keyboard.press("p")
    expect(dialog).to_be_hidden()
    app.get_by_role("button", name="Policy text").click()
    expect(text).to_be_visible()
    app.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    app.get_by_role("button", name="Policy text").click()
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_be_hidden()
    assert [r.url for r in requests if not r.url.startswith(ada.url)] == []
    assert len([r for r in requests if "/queue/join" in r.url]) == 1


def test_a_hostile_policy_text_is_harmless(app: Page, ada: Server) -> None:
    """HTML, handlers, images and diagrams of the file stay text; nothing is requested."""
    requests = requests_of(app)
    text = policy_text(app)
    shown = text.evaluate("element => element.textContent").replace(WORD_JOINER, "")
    for part in (
        "<script>window.hacked = 1</script>",
        '<img src=x onerror="window.hacked = 2">',
        '<svg onload="window.hacked = 6">',
        '<div class="mermaid">',
        "code <b>bold</b>",
        "graph TD; A-->B",
        "$$x^2$$",
    ):
        assert part in shown
    elements = "script, img, iframe, form, style, .mermaid, .katex, .md svg:not(button svg), "
    handlers = "[onerror], [onload], [onclick]"
    expect(text.locator(elements + handlers)).to_have_count(0)
    assert app.evaluate("window.hacked") is None
    assert [r.url for r in requests if "/gradio_api/queue/" not in r.url] == []


def test_links_of_a_policy_text_open_other_sites_only(app: Page, ada: Server) -> None:
    """Links to other sites open in a new tab, scripts have no target, local links do nothing."""
    text = policy_text(app)
    links = text.locator("a").evaluate_all(
        "links => Object.fromEntries(links.map(a => [a.textContent, a.getAttribute('href')]))"
    )
    assert links == {
        "the handbook": "https://example.org/handbook",
        "a link": None,
        "a page": None,
        "a drawing": "https://example.org/x.png",
        "a figure": "https://example.org/y.png",
        "another place": "/desk/status",
        "a mailbox": "mailto:policy@example.org",
    }
    expect(text.get_by_text("the handbook")).to_have_attribute("target", "_blank")
    expect(text.get_by_text("the handbook")).to_have_attribute("rel", re.compile("noopener"))
    before = len(app.context.pages)
    for name in ("a link", "a page", "another place"):
        text.get_by_text(name, exact=True).click()
    assert app.url.rstrip("/") == ada.url
    assert len(app.context.pages) == before
    assert app.evaluate("window.hacked") is None


def test_the_policy_text_is_not_in_the_pages_configuration(ada: Server) -> None:
    """Gradio's configuration, which API keys can read, does not contain the text."""
    for path in ("/config", "/", "/gradio_api/info"):
        response = httpx.get(f"{ada.url}{path}")
        assert response.status_code == 200
        assert "What is unsafe" not in response.text


def test_without_a_policy_text_there_is_no_button(page: Page) -> None:
    """Without a policy text, P does nothing and the top bar has no button."""
    expect(page.get_by_role("button", name="Viewing")).to_be_visible()
    expect(page.get_by_role("button", name="Policy text")).to_have_count(0)
    page.keyboard.press("p")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_the_list_of_keys_has_the_policy_text(page: Page) -> None:
    """P and V are in the list of keys."""
    page.keyboard.press("?")
    keys = page.get_by_role("dialog", name="Keys")
    expect(keys.locator("dt")).to_contain_text(["V", "B", "P", "?"])
