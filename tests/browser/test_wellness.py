"""Care for the people who look: how pictures are shown, how many were, and the policy at hand."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, Route, expect

from nsfw_app import settings
from nsfw_app.errors import SettingsError
from nsfw_app.web.page.policy_text import parts_of
from tests.support.browser import open_tab, opened, requests_of
from tests.support.server import Server, serving

ROOT = Path(__file__).parents[2]
PAUSE_AFTER = 3
FILTER = "image => getComputedStyle(image).filter"
HOSTILE = """# What is unsafe

Judge **what is shown**. See [the handbook](https://example.org/handbook).

<script>window.hacked = 1</script>

Inline <img src=x onerror="window.hacked = 2"> and [a link](javascript:window.hacked=3)
and [a page](data:text/html,<script>window.hacked=4</script>) and ![a drawing](https://example.org/x.png)
and [another place](/desk/status) and <javascript:window.hacked=5>.

| kind | answer |
|---|---|
| art <svg onload="window.hacked = 6"> | normal |
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Five different pictures of soft noise."""
    directory = tmp_path_factory.mktemp("pictures")
    paths = [directory / f"picture {number}.png" for number in range(5)]
    for seed, path in enumerate(paths, 100):
        noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((320, 240), Image.Resampling.BICUBIC).save(path)
    return paths


@pytest.fixture(scope="module")
def ada(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A page for Ada: a policy text from a hostile hand, a pause after three images."""
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
    """Ada's page in a browser of its own."""
    with opened(browser, ada.url) as opened_page:
        yield opened_page


def reload(page: Page) -> None:
    """Come again, once the page has fetched all that a first visit asks for."""
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
    """The dialog, opened from the bar on top."""
    page.get_by_role("button", name="Viewing").click()
    return page.get_by_role("dialog", name="Viewing")


def close(page: Page) -> None:
    """Close the open dialog."""
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    expect(page.get_by_role("dialog")).to_have_count(0)


def reveal_by_click(page: Page) -> None:
    """Choose to see pictures by click."""
    viewing(page).get_by_text("On and off by V").click()
    close(page)


def preview(page: Page, card: Locator) -> None:
    """Hold V on a card until its picture has arrived."""
    card.focus()
    page.keyboard.down("v")
    expect(card.locator(".real")).to_be_visible()
    page.wait_for_function(
        "card => card.querySelector('.real').complete", arg=card.element_handle()
    )
    page.keyboard.up("v")
    expect(card.locator(".real")).to_have_count(0)


def test_every_picture_begins_blurred_and_grey(page: Page, files: list[Path]) -> None:
    """Also an image that the model calls normal is a grey blur of at most 24 pixels."""
    requests = requests_of(page)
    cards = fill_gallery(page, files)
    expect(cards.first).to_have_attribute("data-label", "normal")
    for placeholder in cards.locator(".placeholder").all():
        assert max(placeholder.evaluate("i => [i.naturalWidth, i.naturalHeight]")) <= 24
        assert placeholder.evaluate(FILTER) == "blur(14px) grayscale(1)"
    assert not [r for r in requests if re.search("/(picture|thumbnail)$", r.url)]


def test_preferences_have_effect_at_once_and_stay(app: Page, files: list[Path]) -> None:
    """Strength, grey and the way to reveal change every picture, and the next visit has them."""
    cards = fill_gallery(app, files[:2])
    dialog = viewing(app)
    dialog.get_by_label("Blur strength").fill("30")
    dialog.get_by_label("Grey while blurred").uncheck()
    for placeholder in cards.locator(".placeholder").all():
        assert placeholder.evaluate(FILTER) == "blur(30px) grayscale(0)"
    dialog.get_by_label("Grey when revealed too").check()
    dialog.get_by_label("On and off by V").check()
    close(app)

    reload(app)
    card = fill_gallery(app, files[2:3]).first
    assert card.locator(".placeholder").evaluate(FILTER) == "blur(30px) grayscale(0)"
    card.locator(".picture").click()
    assert card.locator(".real").evaluate(FILTER) == "grayscale(1)"
    dialog = viewing(app)
    expect(dialog.get_by_label("Blur strength")).to_have_value("30")
    dialog.get_by_role("button", name="Back to defaults").click()
    expect(dialog.get_by_label("Grey while blurred")).to_be_checked()
    expect(card.locator(".real")).to_have_count(0)
    assert card.locator(".placeholder").evaluate(FILTER) == "blur(14px) grayscale(1)"


def test_preferences_are_each_reviewers_own(browser: Browser, ada: Server) -> None:
    """In the same browser another name has its own preferences and its own count."""
    name = "Ada"

    def rename(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "reviewer": name})

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
def test_what_is_kept_cannot_unblur(browser: Browser, server: Server, kept: str) -> None:
    """Values that are no possible choice, and so none that shows a picture, are the defaults."""
    stored = [{"name": "nsfw-review:viewing:reviewer", "value": kept}]
    origins = [{"origin": server.url, "localStorage": stored}]
    with opened(browser, server.url, storage_state={"origins": origins}) as page:
        dialog = viewing(page)
        expect(dialog.get_by_label("Blur strength")).to_have_value("14")
        expect(dialog.get_by_label("While V or its button is held")).to_be_checked()


def test_moving_on_hides_what_was_revealed(page: Page, files: list[Path]) -> None:
    """Shown by key or click, a picture is hidden again when the next image has its turn."""
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
    cards.nth(0).locator(".picture").click()
    expect(cards.nth(0).locator(".real")).to_be_visible()
    cards.nth(1).locator(".picture").click()
    expect(cards.nth(1).locator(".real")).to_be_visible()
    expect(real).to_have_count(1)
    open_tab(page, "Log")
    expect(real).to_have_count(0)


def test_the_button_reveals_as_preferred(page: Page, files: list[Path]) -> None:
    """Held, it shows while it is held; by click, and by Enter, until it is pressed again."""
    page.locator("#image-input input[type=file]").set_input_files(files[0])
    button = page.locator("#review-picture").get_by_role("button", name="Hold to see")
    real = page.locator("#review-picture .real")
    button.hover()
    page.mouse.down()
    expect(real).to_be_visible()
    page.mouse.up()
    expect(real).to_have_count(0)
    page.locator("#review-picture .picture").click()
    expect(real).to_have_count(0)
    reveal_by_click(page)
    button = page.locator("#review-picture").get_by_role("button", name="Click to see")
    button.click()
    expect(real).to_be_visible()
    expect(button).to_have_attribute("aria-pressed", "true")
    button.press("Enter")
    expect(real).to_have_count(0)
    expect(button).to_have_attribute("aria-pressed", "false")
    page.locator("#review-picture .picture").click()
    expect(real).to_be_visible()
    page.locator("#image-input input[type=file]").set_input_files(files[1])
    expect(page.locator("#review-picture")).to_contain_text(files[1].name)
    expect(real).to_have_count(0)


def test_blur_off_lasts_no_longer_than_the_visit(page: Page, files: list[Path]) -> None:
    """B shows every picture, a later one too, and a reload has them blurred again."""
    cards = fill_gallery(page, files[:2])
    cards.first.focus()
    page.keyboard.press("b")
    expect(cards.locator(".real")).to_have_count(2)
    page.keyboard.press("b")
    expect(cards.locator(".real")).to_have_count(0)
    page.keyboard.press("b")
    reload(page)
    expect(fill_gallery(page, files[:2]).locator(".real")).to_have_count(0)


def test_an_image_is_counted_once_and_nothing_of_it_kept(page: Page, files: list[Path]) -> None:
    """The bar counts different images of the day; the browser keeps a day and a number."""
    revealed = page.locator("#revealed-today")
    expect(revealed).to_have_text("0")
    cards = fill_gallery(page, files[:2])
    for card, count in ((cards.nth(0), "1"), (cards.nth(0), "1"), (cards.nth(1), "2")):
        preview(page, card)
        expect(revealed).to_have_text(count)
    open_tab(page, "Review")
    page.locator("#image-input input[type=file]").set_input_files(files[0])
    expect(page.locator("#review-picture .placeholder")).to_be_visible()
    page.keyboard.down("v")
    expect(page.locator("#review-picture .real")).to_be_visible()
    page.wait_for_function("() => document.querySelector('#review-picture .real').complete")
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


def test_a_pause_is_suggested_and_nothing_stands_still(
    app: Page, ada: Server, files: list[Path]
) -> None:
    """After the set number there is a notice; focus stays, keys answer, it can be dismissed."""
    cards = fill_gallery(app, files)
    expect(app.locator("#gallery-tools")).to_contain_text(f"Done: {len(files)}")
    notice = app.locator(".pause")
    for number in range(PAUSE_AFTER):
        expect(notice).to_be_empty()
        preview(app, cards.nth(number))
    expect(notice).to_contain_text("3 images revealed today")
    last = cards.nth(PAUSE_AFTER - 1)
    expect(last).to_be_focused()
    app.keyboard.press("a")
    expect(last).to_have_attribute("data-decision", "agree")
    expect(cards.nth(PAUSE_AFTER)).to_be_focused()
    notice.get_by_role("button", name="Dismiss").click()
    expect(notice).to_be_empty()
    expect(cards.nth(PAUSE_AFTER)).to_be_focused()
    preview(app, cards.nth(PAUSE_AFTER))
    expect(notice).to_be_empty()


def test_the_policy_is_one_key_away_and_harmless(app: Page, ada: Server) -> None:
    """P shows and hides the text; scripts, handlers and links of a hostile file stay text."""
    requests = requests_of(app)
    app.keyboard.press("p")
    dialog = app.get_by_role("dialog", name="Policy")
    text = dialog.locator(".policy-text")
    expect(text.get_by_role("heading", name="What is unsafe")).to_be_visible()
    expect(text.locator("strong")).to_have_text("what is shown")
    expect(text).to_contain_text("<script>window.hacked = 1</script>")
    expect(text).to_contain_text('<img src=x onerror="window.hacked = 2">')
    expect(text.locator("td").first).to_contain_text("<svg onload=")
    links = text.locator("a").evaluate_all("links => links.map(link => link.href)")
    assert links == ["https://example.org/handbook"]
    expect(text.locator("script, img, svg, iframe, [onerror], [onload], [onclick]")).to_have_count(
        0
    )
    app.keyboard.press("p")
    expect(dialog).to_be_hidden()
    app.get_by_role("button", name="Policy text").click()
    expect(text).to_be_visible()
    app.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert app.evaluate("window.hacked") is None
    assert [r.url for r in requests if not r.url.startswith(ada.url)] == []
    assert [r.url.endswith("/desk/policy-text") for r in requests].count(True) == 1


def test_a_tree_from_elsewhere_makes_only_known_nodes(browser: Browser, ada: Server) -> None:
    """Whatever the server's answer says, the page makes no other tags and follows no script."""
    hostile = [
        {"tag": "script", "children": ["window.hacked = 1"]},
        {"tag": "iframe", "children": [], "src": "/"},
        {"tag": "a", "href": "javascript:window.hacked = 2", "children": ["click"]},
        {"tag": "p", "onclick": "window.hacked = 3", "children": ["text"]},
    ]
    with opened(browser, ada.url) as page:
        page.route("**/desk/policy-text", lambda route: route.fulfill(json={"parts": hostile}))
        page.keyboard.press("p")
        text = page.locator(".policy-text")
        expect(text).to_contain_text("click")
        text.get_by_text("click").click()
        text.locator("p").click()
        expect(text.locator("script, iframe, a, [onclick]")).to_have_count(0)
        assert page.evaluate("window.hacked") is None


def test_without_a_policy_text_there_is_no_button(page: Page) -> None:
    """Where none is set, P does nothing and the bar offers nothing."""
    expect(page.get_by_role("button", name="Viewing")).to_be_visible()
    expect(page.get_by_role("button", name="Policy text")).to_have_count(0)
    page.keyboard.press("p")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_keys_are_listed_with_the_policy(page: Page) -> None:
    """The list of keys has P and V."""
    page.keyboard.press("?")
    keys = page.get_by_role("dialog", name="Keys")
    expect(keys.locator("dt")).to_contain_text(["V", "B", "P", "?"])


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "there is no such file"),
        (b"", "it is empty"),
        (b" \n\n", "it is empty"),
        (b"\xff\xfe\x00caf\xe9", "it is not UTF-8 text"),
        (b"x" * 1_000_001, "it has more than 1000000 bytes"),
    ],
)
def test_a_policy_text_that_cannot_be_read_is_told(
    content: bytes | None, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence names the setting, the path and the reason."""
    path = tmp_path / "policy.md"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("NSFW_POLICY_TEXT", str(path))
    with pytest.raises(SettingsError) as caught:
        settings.load()
    assert str(caught.value).startswith(f"NSFW_POLICY_TEXT='{path}': Cannot be read: {why}. ")


def test_a_directory_is_no_policy_text(tmp_path: Path) -> None:
    """A path that leads to a directory is told as such."""
    with pytest.raises(SettingsError, match="it is a directory"):
        settings.load(policy_text=tmp_path)


def test_the_start_stops_without_its_policy_text(tmp_path: Path) -> None:
    """`python app.py` ends with a sentence, not with a traceback and not with a page."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "app.py")],
        env={"NSFW_POLICY_TEXT": "absent.md", "NSFW_DATA_DIR": str(tmp_path / "data")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Error: NSFW_POLICY_TEXT='absent.md': Cannot be read")
    assert "Traceback" not in done.stderr


def test_no_policy_text_and_no_pause_are_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty path is none, 0 is never, and fewer than none is refused."""
    monkeypatch.setenv("NSFW_POLICY_TEXT", "")
    monkeypatch.setenv("NSFW_PAUSE_AFTER", "0")
    assert (settings.load().policy_text, settings.load().policy_markdown) == (None, None)
    assert settings.load().pause_after == 0
    monkeypatch.setenv("NSFW_PAUSE_AFTER", "-1")
    with pytest.raises(SettingsError, match="NSFW_PAUSE_AFTER"):
        settings.load()


@pytest.mark.parametrize(
    ("markdown", "parts"),
    [
        ("plain", [{"tag": "p", "children": ["plain"]}]),
        ("# Top", [{"tag": "h3", "children": ["Top"]}]),
        ("###### Deep", [{"tag": "h6", "children": ["Deep"]}]),
        ("<b>no</b>", [{"tag": "p", "children": ["<b>no</b>"]}]),
        ("[here](/there)", [{"tag": "p", "children": ["here"]}]),
        ("![alt](x.png)", [{"tag": "p", "children": ["alt"]}]),
        ("- tight", [{"tag": "ul", "children": [{"tag": "li", "children": ["tight"]}]}]),
        ("3. x", [{"tag": "ol", "children": [{"tag": "li", "children": ["x"]}], "start": 3}]),
        ("    <i>", [{"tag": "pre", "children": [{"tag": "code", "children": ["<i>\n"]}]}]),
    ],
)
def test_markdown_becomes_parts(markdown: str, parts: list[Any]) -> None:
    """Text stays text, headings move below the dialog's, links and images lead nowhere."""
    assert parts_of(markdown) == parts
