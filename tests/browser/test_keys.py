"""Keys in Chromium: wherever the focus is, on other layouts, as the reviewer chose; the form."""

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.support.browser import open_tab, opened
from tests.support.server import serving

SAMPLE = Path(__file__).parents[2] / "nsfw_app/ui/assets/review/samples/astronaut.jpg"
SAVED = "#review-decision .saved"


def show(page: Page) -> None:
    """Show an image in the Review tab that the model calls normal."""
    page.locator("#image-input input[type=file]").set_input_files(SAMPLE)
    expect(page.locator("#agree")).to_be_enabled()


def said(page: Page) -> Locator:
    """The message about the last decision in the Review tab."""
    return page.locator(SAVED)


def type_foreign(page: Page, key: str, code: str) -> None:
    """Press a key of a layout without Latin letters."""
    cdp = page.context.new_cdp_session(page)
    values = {"key": key, "code": code, "windowsVirtualKeyCode": ord(code[-1])}
    cdp.send("Input.dispatchKeyEvent", {"type": "keyDown", "text": key, **values})
    cdp.send("Input.dispatchKeyEvent", {"type": "keyUp", **values})


def test_keys_work_wherever_the_focus_is(page: Page) -> None:
    """On a slider, a tab and a button a key decides; Space skips and presses nothing."""
    show(page)
    for focused, key, label in (
        ("#review-threshold input[type=range]", "1", "normal"),
        ("[role=tab][aria-selected=true]", "2", "nsfw"),
        ("#review-preview .reveal", "3", "unsure"),
    ):
        page.locator(focused).focus()
        page.keyboard.press(key)
        expect(said(page)).to_contain_text(f"Saved: {label}")
        expect(page.locator("#review-preview .region")).to_be_focused()
    page.locator("#agree").focus()
    page.keyboard.press("Space")
    expect(page.locator(".welcome")).to_be_visible()
    expect(said(page)).to_contain_text("Skipped: astronaut.jpg")


def test_a_tab_that_is_opened_with_the_mouse_has_the_keys(page: Page) -> None:
    """After a click on a tab or a button the focus is on the stage."""
    show(page)
    open_tab(page, "Log")
    open_tab(page, "Review")
    expect(page.locator("#review-preview .region")).to_be_focused()
    page.locator("#disagree").click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#review-preview .region")).to_be_focused()


@pytest.mark.parametrize("letters", ["фч", "αχ"], ids=["Russian", "Greek"])
def test_letters_of_other_scripts_act_by_their_place(page: Page, letters: str) -> None:
    """The keys where A and X are agree and disagree."""
    show(page)
    type_foreign(page, letters[0], "KeyA")
    expect(said(page)).to_contain_text("Saved: normal, the model agrees")
    type_foreign(page, letters[1], "KeyX")
    expect(page.locator(".decision-form")).to_be_visible()


def test_keys_are_changed_in_the_list_of_keys(page: Page) -> None:
    """A key that is taken is refused; the new one acts, is shown, and outlives a reload."""
    show(page)
    page.keyboard.press("?")
    keys = page.get_by_role("dialog", name="Keys")
    keys.get_by_role("button", name="A, change the key").click()
    page.keyboard.press("x")
    expect(keys.get_by_role("status")).to_contain_text("X is taken: Disagree")
    page.keyboard.press("j")
    expect(keys.get_by_role("button", name="J, change the key")).to_be_visible()
    page.keyboard.press("?")
    expect(keys).to_be_hidden()
    page.keyboard.press("a")
    page.keyboard.press("j")
    expect(said(page)).to_contain_text("Saved: normal")
    page.reload()
    show(page)
    expect(page.locator("#agree")).to_have_text("AgreeJ")
    page.keyboard.press("?")
    keys.get_by_role("button", name="Reset keys").click()
    expect(keys.get_by_role("button", name="A, change the key")).to_be_visible()


@pytest.mark.parametrize("key", [" ", "PageDown", "End"])
def test_the_page_behind_a_dialog_stays(page: Page, key: str) -> None:
    """A key that scrolls does nothing in a dialog that has nothing to scroll."""
    show(page)
    page.evaluate("addEventListener('keydown', (e) => { window.stays = e.defaultPrevented })")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press(key)
    assert page.evaluate("window.stays")


def test_a_half_filled_form_is_not_lost(page: Page) -> None:
    """N, X and Space keep it as it is; Esc closes it wherever the focus is."""
    show(page)
    page.keyboard.press("x")
    form = page.locator(".decision-form")
    page.keyboard.press("t")
    page.keyboard.press("3")
    page.keyboard.press("n")
    page.keyboard.type("axe 12")
    page.locator("#review-preview .frame").click()
    for key in ("x", "n"):
        page.keyboard.press(key)
        expect(page.get_by_label("Note")).to_have_value("axe 12")
        page.locator("#review-preview .frame").click()
    page.keyboard.press("Space")
    page.keyboard.press("a")
    expect(form.get_by_role("checkbox", name="Art", exact=True)).to_be_checked()
    expect(form.get_by_label("Unsure")).to_be_checked()
    form.get_by_role("button", name="Save decision").focus()
    page.keyboard.press("Space")
    expect(form).to_be_visible()
    page.locator("#review-threshold input[type=number]").focus()
    page.keyboard.press("Escape")
    expect(form).to_have_count(0)
    expect(said(page)).to_be_empty()


def test_a_disagreement_can_need_a_reason(browser: Browser, tmp_path: Path) -> None:
    """With NSFW_REQUIRE_REASON a label against the model opens the form, which wants a reason."""
    with (
        serving(tmp_path, NSFW_REQUIRE_REASON="true") as server,
        opened(browser, server.url) as page,
    ):
        show(page)
        page.keyboard.press("1")
        expect(said(page)).to_contain_text("Saved: normal")
        page.keyboard.press("2")
        problem = page.locator(".decision-form .problem")
        expect(problem).to_contain_text("Choose a reason")
        page.keyboard.press("Enter")
        expect(problem).to_contain_text("Choose a reason")
        page.keyboard.press("t")
        page.keyboard.press("Enter")
        expect(said(page)).to_contain_text("Saved: nsfw")
        (row,) = server.rows("select reasons from correction_log where reviewer_label = 'nsfw'")
        assert json.loads(row["reasons"]) == ["art"]


def test_a_minor_is_recorded_after_a_confirmation(browser: Browser, tmp_path: Path) -> None:
    """The duty is shown; going back records nothing and keeps the form."""
    with (
        serving(tmp_path, NSFW_ESCALATION_TEXT="Call the duty officer.") as server,
        opened(browser, server.url) as page,
    ):
        show(page)
        for key in ("x", "i", "Enter"):
            page.keyboard.press(key)
        dialog = page.get_by_role("dialog", name="Minor present")
        expect(dialog).to_contain_text("Call the duty officer.")
        page.keyboard.press("Enter")
        dialog.get_by_role("button", name="Record it").focus()
        page.keyboard.press("Space")
        dialog.get_by_role("button", name="Back").click()
        expect(page.locator(".decision-form")).to_be_visible()
        assert server.rows("select * from decisions") == []
        page.keyboard.press("Enter")
        dialog.get_by_role("button", name="Record it").click()
        expect(said(page)).to_contain_text("Saved: nsfw")
        (row,) = server.rows("select reasons from decisions")
        assert json.loads(row["reasons"]) == ["minor_present"]


def test_the_slider_says_how_far_it_is_from_the_policy(page: Page) -> None:
    """The line names both thresholds while they differ, and resets the slider."""
    show(page)
    line = page.locator("#review-threshold .threshold-line")
    expect(line).to_be_empty()
    page.locator("#review-threshold input[type=range]").fill("0.5")
    expect(line).to_have_text("0.50, policy 0.33, reset")
    line.get_by_role("button").click()
    expect(page.locator("#review-threshold input[type=number]")).to_have_value("0.33")
    expect(line).to_be_empty()
    expect(page.locator("#review-verdict .score-bar")).to_have_attribute(
        "aria-label", re.compile("threshold 0.33, review band 0.20 to 0.80")
    )


def test_the_gallery_s_slider_says_how_far_it_is_from_the_policy(page: Page) -> None:
    """The line takes the place of the slider's name: nothing else moves."""
    open_tab(page, "Gallery")
    page.locator("#gallery-upload input[type=file]").set_input_files(SAMPLE)
    expect(page.locator("#grid .card")).to_have_count(1)
    slider = page.locator("#gallery-threshold input[type=range]")
    line = page.locator("#gallery-threshold .threshold-line")
    before = slider.bounding_box()
    expect(line).to_be_empty()
    slider.fill("0.5")
    expect(line).to_have_text("0.50, policy 0.33, reset")
    expect(page.locator("#grid .summary")).to_contain_text("at threshold 0.50")
    assert slider.bounding_box() == before
    line.get_by_role("button").click()
    expect(page.locator("#gallery-threshold input[type=number]")).to_have_value("0.33")
    expect(page.locator("#grid .summary")).to_contain_text("at threshold 0.33")
    expect(line).to_be_empty()
    assert slider.bounding_box() == before


def test_the_first_visit_explains_itself(page: Page) -> None:
    """Purpose, thumbnails of samples and a legend are shown, and nothing that cannot be used."""
    expect(page.locator(".welcome .purpose")).to_contain_text("you agree or disagree")
    samples = page.locator(".welcome .sample img")
    expect(samples).to_have_count(3)
    for sample in samples.all():
        expect(sample).to_have_js_property("complete", value=True)
        assert sample.evaluate("image => image.naturalWidth") > 0
    expect(page.locator("#review-verdict .legend")).to_be_visible()
    for hidden in ("#agree", "#disagree", "#review-threshold"):
        expect(page.locator(hidden)).to_be_hidden()
    assert page.locator("#review-decision button:disabled:visible").count() == 0
