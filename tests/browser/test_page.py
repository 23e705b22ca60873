"""The page in Chromium: Review, Gallery, Log and Model, from file to correction log."""

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, Route, expect

from nsfw_app import __version__
from nsfw_app.records import Policy
from nsfw_app.rules.policy import judge
from tests.support.browser import intercept, open_policy_form, open_tab, opened, requests_of
from tests.support.server import Server, serving

COUNT = 60
FIRST_POLICY = Policy(0.33, 0.2, 0.8)
HOSTILE_NAME = "<img src=x onerror=alert(1)>${alert(2)}{{value}}.png"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Sixty different images of soft noise, one of them with a hostile name."""
    directory = tmp_path_factory.mktemp("images")
    names = [HOSTILE_NAME, *(f"image {number:02}.png" for number in range(1, COUNT))]
    for seed, name in enumerate(names):
        noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((320, 240), Image.Resampling.BICUBIC).save(directory / name)
    return [directory / name for name in names]


@pytest.fixture
def sample() -> Path:
    """One of the sample images of the page."""
    return Path(__file__).parents[2] / "nsfw_app/ui/assets/review/samples/astronaut.jpg"


def add_to_gallery(page: Page, files: list[Path]) -> None:
    """Add files in the Gallery tab and wait until all are classified."""
    open_tab(page, "Gallery")
    page.locator("#gallery-upload input[type=file]").set_input_files(files)
    done = re.compile(rf"Done: {len(files)} of {len(files)}")
    expect(page.locator("#gallery-tools")).to_contain_text(done, timeout=60_000)


def set_threshold(page: Page, name: str, value: float) -> None:
    """Move the slider of a tab."""
    page.locator(f"#{name}-threshold input[type=range]").fill(str(value))


def at_threshold(threshold: float) -> Policy:
    """The first policy with another threshold, the review band widened to include it."""
    return Policy(
        threshold,
        review_from=min(FIRST_POLICY.review_from, threshold),
        review_to=max(FIRST_POLICY.review_to, threshold),
    )


def cards(page: Page) -> list[dict[str, str]]:
    """The data attributes of each card."""
    script = "cards => cards.map(c => ({...c.dataset, hidden: String(c.hidden)}))"
    return page.locator("#grid .card").evaluate_all(script)


def test_gallery_from_upload_to_export(page: Page, server: Server, files: list[Path]) -> None:
    """Sixty files are classified, re-labeled without a request, decided, logged and exported."""
    add_to_gallery(page, files)
    expect(page.locator("#grid .card")).to_have_count(COUNT)
    expect(page.locator("#grid")).to_contain_text(HOSTILE_NAME)

    requests = requests_of(page)
    scores = sorted(float(card["score"]) for card in cards(page))
    for value in (0.0, round(scores[COUNT // 2], 2), 0.25, 1.0, round(scores[COUNT // 3], 2)):
        set_threshold(page, "gallery", value)
        expect(page.locator("#grid .summary")).to_contain_text(f"threshold {value:.2f}")
        policy = at_threshold(value)
        for card in cards(page):
            verdict = judge(float(card["score"]), policy)
            assert (card["label"], card["action"]) == (verdict.label, verdict.action)
    assert requests == []
    threshold = value

    by_key = page.locator("#grid .card").nth(0)
    by_click = page.locator("#grid .card").nth(5)
    agreed = page.locator("#grid .card").nth(1)
    ids = [c.get_attribute("data-id") for c in (by_key, by_click, agreed)]
    labels = [c.get_attribute("data-label") for c in (by_key, by_click, agreed)]
    by_key.focus()
    page.keyboard.press("x")
    expect(by_key).to_have_attribute("data-decision", "disagree")
    expect(agreed).to_be_focused()
    page.keyboard.press("a")
    expect(agreed).to_have_attribute("data-decision", "agree")
    by_click.get_by_role("button", name="Disagree").click()
    expect(by_click).to_have_attribute("data-decision", "disagree")

    columns = "image_sha256, model_label, reviewer_label, threshold, agrees, nsfw_score, model"
    sql = f"select {columns} from correction_log where image_sha256 in (?, ?, ?)"
    rows = {row["image_sha256"]: row for row in server.rows(sql, *ids)}
    assert [rows[i]["model_label"] for i in ids] == labels
    assert [rows[i]["agrees"] for i in ids] == [0, 0, 1]
    assert {rows[i]["threshold"] for i in ids} == {threshold}
    on_screen = {card["id"]: float(card["score"]) for card in cards(page)}
    assert all(rows[i]["nsfw_score"] == on_screen[i] for i in ids)

    open_tab(page, "Log")
    expect(page.locator("#log-table tbody tr").first).to_be_visible()
    with page.expect_download() as download:
        page.locator("#export-csv").click()
    text = download.value.path().read_text(encoding="utf-8-sig")
    exported = list(csv.DictReader(io.StringIO(text)))
    with page.expect_download() as download:
        page.locator("#export-jsonl").click()
    as_json = [json.loads(line) for line in download.value.path().read_text().splitlines()]
    stored = server.rows("select * from correction_log order by decision_id desc")
    assert [int(row["decision_id"]) for row in exported] == [row["decision_id"] for row in stored]
    for row, line, true in zip(exported, as_json, stored, strict=True):
        assert row["image_sha256"] == line["image_sha256"] == true["image_sha256"]
        assert float(row["nsfw_score"]) == line["nsfw_score"] == true["nsfw_score"]
        assert line["agrees"] == (None if true["agrees"] is None else bool(true["agrees"]))
        assert row["agrees"] == {None: "", True: "true", False: "false"}[line["agrees"]]


def test_gallery_filters_sorts_and_keeps_cards_when_stopped(page: Page, files: list[Path]) -> None:
    """Chips filter and count, the order follows the choice, Stop keeps classified cards."""
    open_tab(page, "Gallery")
    upload = page.locator("#gallery-upload input[type=file]")
    page.evaluate(
        """() => new MutationObserver((_, me) => {
          if (document.querySelectorAll('#grid .card').length < 5) return
          me.disconnect()
          document.getElementById('stop').click()
        }).observe(document.getElementById('grid'), { childList: true, subtree: true })"""
    )
    upload.set_input_files(files)
    expect(page.locator("#gallery-tools")).to_contain_text("Stopped: ")
    kept = page.locator("#grid .card:not([data-action=not_sent])").count()
    assert 5 <= kept < COUNT
    broken = {"name": "broken.png", "mimeType": "image/png", "buffer": b"<html>no</html>"}
    upload.set_input_files([broken])
    expect(page.locator('#grid .card[data-action="unavailable"]')).to_contain_text("not an image")
    page.get_by_role("button", name="Unavailable 1").click()
    expect(page.locator("#grid .card:visible")).to_have_count(1)
    page.get_by_role("button", name=re.compile(r"^All \d")).click()
    expect(page.locator("#grid .card:visible")).to_have_count(COUNT + 1)
    page.get_by_label("Order").select_option("name")
    names = page.locator("#grid .card .name").all_text_contents()
    assert names == sorted(names)
    page.get_by_label("Order").select_option("nearest")
    set_threshold(page, "gallery", 0.05)
    page.wait_for_function(
        """() => {
          const scores = [...document.querySelectorAll('#grid .card')].map((c) => c.dataset.score)
          const away = scores.filter(Boolean).map((score) => Math.abs(score - 0.05))
          return away.length > 4 && away.every((far, at) => !at || away[at - 1] <= far)
        }"""
    )


def test_review_saves_what_was_on_screen(page: Page, server: Server, sample: Path) -> None:
    """The row has the score, threshold, model, label, reasons and note that were shown."""
    page.locator("#image-input input[type=file]").set_input_files(sample)
    expect(page.locator("#probabilities")).to_contain_text("0.0")
    set_threshold(page, "review", 0.01)
    expect(page.locator("#verdict")).to_contain_text("nsfw")
    page.locator("#disagree").click()
    page.get_by_text("Partial exposure").click()
    page.get_by_text("Art", exact=True).click()
    page.get_by_label("Note").fill("a space suit: agx12")
    page.get_by_role("button", name="Save decision").click()
    expect(page.get_by_text("Saved: normal")).to_be_visible()
    (row,) = server.rows("select * from correction_log where note = 'a space suit: agx12'")
    assert (row["model_label"], row["reviewer_label"], row["threshold"]) == ("nsfw", "normal", 0.01)
    assert json.loads(row["reasons"]) == ["art", "partial_exposure"]
    assert f"score {row['nsfw_score']:.3f}" in page.locator(".saved").inner_text()
    assert (row["model"], row["name"], row["undone"]) == ("open-nsfw", "astronaut.jpg", 0)
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("Undone.")).to_be_visible()
    (row,) = server.rows("select * from correction_log where note = 'a space suit: agx12'")
    assert row["undone"] == 1


def test_an_empty_threshold_changes_nothing(page: Page, sample: Path) -> None:
    """An empty number field keeps the threshold until a number is entered."""
    page.locator("#image-input input[type=file]").set_input_files(sample)
    bar = page.locator("#review-verdict .score-bar")
    set_threshold(page, "review", 0.9)
    expect(bar).to_have_attribute("aria-label", re.compile("threshold 0.90"))
    box = page.locator("#review-threshold input[type=number]")
    box.fill("")
    page.locator("#image-input input[type=file]").set_input_files(sample)
    expect(page.locator("#verdict")).to_contain_text("The model calls it normal")
    expect(bar).to_have_attribute("aria-label", re.compile("threshold 0.90"))
    box.fill("0.25")
    expect(bar).to_have_attribute("aria-label", re.compile("threshold 0.25"))


def test_no_pixels_are_sent_before_reveal(page: Page, sample: Path) -> None:
    """Before reveal the server sends only the placeholder."""
    requests = requests_of(page)
    page.locator("#image-input input[type=file]").set_input_files(sample)
    placeholder = page.locator("#review-preview .placeholder")
    expect(placeholder).to_be_visible()
    assert max(placeholder.evaluate("i => [i.naturalWidth, i.naturalHeight]")) <= 24
    assert "blur" in placeholder.evaluate("i => getComputedStyle(i).filter")
    assert not [r for r in requests if r.url.endswith("/picture")]
    page.keyboard.down("v")
    expect(page.locator("#review-preview .real")).to_be_visible()
    page.keyboard.up("v")
    expect(page.locator("#review-preview .real")).to_have_count(0)


def test_keys_decide_once_and_typing_never_does(page: Page, server: Server, sample: Path) -> None:
    """A held key decides once, a typed letter never, and Ctrl+Z undoes the decision."""
    (before,) = server.rows("select count(*) as n from decisions")
    page.locator("#image-input input[type=file]").set_input_files(sample)
    expect(page.locator("#agree")).to_be_enabled()
    page.keyboard.press("n")
    expect(page.get_by_label("Note")).to_be_focused()
    page.keyboard.type("axe 12 and a space")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("heading", name="Keys")).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("heading", name="Keys")).to_be_hidden()
    page.keyboard.down("a")
    page.keyboard.down("a")
    page.keyboard.down("a")
    page.keyboard.up("a")
    expect(page.locator(".saved")).to_contain_text("Saved: normal")
    page.keyboard.press("Control+z")
    expect(page.locator(".saved")).to_contain_text("Undone")
    (after,) = server.rows("select count(*) as n from decisions")
    assert after["n"] - before["n"] == 2


def test_sample_images_are_classified_with_one_click(page: Page) -> None:
    """The empty page offers sample images."""
    page.get_by_role("button", name="A cup of coffee").click()
    expect(page.locator("#verdict")).to_contain_text("normal")
    expect(page.locator("#review-preview")).to_contain_text("600 × 400")


def test_log_and_export_use_the_same_filter(page: Page, server: Server, sample: Path) -> None:
    """Rows, their count and the exported file match the filter."""
    page.locator("#image-input input[type=file]").set_input_files(sample)
    expect(page.locator("#agree")).to_be_enabled()
    page.keyboard.press("1")
    expect(page.locator(".saved")).to_contain_text("Saved")
    page.keyboard.press("2")
    expect(page.locator(".saved")).to_contain_text("Saved: nsfw")
    open_tab(page, "Log")
    expect(page.locator("#log-table tbody tr").first).to_be_visible()
    page.locator("#log-filters").get_by_label("Decision").select_option("Disagreements in force")
    sql = "select decision_id from correction_log where not agrees and not undone order by 1 desc"
    wanted = [row["decision_id"] for row in server.rows(sql)]
    status = page.locator("#log-table .log-head [role=status]")
    expect(status).to_have_text(f"Rows 1 to {len(wanted)} of {len(wanted)}")
    with page.expect_download() as download:
        page.locator("#export-jsonl").click()
    lines = download.value.path().read_text().splitlines()
    assert [json.loads(line)["decision_id"] for line in lines] == wanted
    page.get_by_label("To (UTC)").fill("2001-01-01")
    expect(status).to_have_text("No decisions match")


def test_model_tab_shows_the_running_model(page: Page) -> None:
    """Weights, license, label roles, the source of the threshold and the version are shown."""
    open_tab(page, "Model")
    facts = page.locator("#model-facts")
    for text in ("864bb37bf8863564", "BSD-2-Clause", "nsfw (unsafe)", "PhotoPrism", "JPEG"):
        expect(facts).to_contain_text(text)
    expect(facts).to_contain_text(f"Version{__version__}")


def test_many_tabs_of_one_browser_all_work(page: Page, server: Server, sample: Path) -> None:
    """Eight pages of one browser all get verdicts, although it opens only six connections."""
    others = [page.context.new_page() for _ in range(7)]
    for other in others:
        other.goto(server.url)
        expect(other.locator("#model-state")).to_have_attribute("data-state", "ready")
    for one in (page, *others):
        one.locator("#image-input input[type=file]").set_input_files(sample)
        expect(one.locator("#verdict")).to_contain_text("normal")


def test_a_late_verdict_does_not_replace_a_newer_image(page: Page, sample: Path) -> None:
    """Of two images added in a row the second stays, also if it is classified first."""
    held = []
    intercept(page, "**/desk/images?name=slow.jpg*", lambda route: held.append(route))
    upload = page.locator("#image-input input[type=file]")
    slow = {"name": "slow.jpg", "mimeType": "image/jpeg", "buffer": sample.read_bytes()}
    upload.set_input_files([slow])
    expect(page.locator("#review-preview")).to_contain_text("Classifying slow.jpg")
    upload.set_input_files(sample)
    expect(page.locator("#review-preview figcaption")).to_contain_text("astronaut.jpg")
    page.locator("#disagree").click()
    with page.expect_response("**/desk/images?name=slow.jpg*"):
        held[0].continue_()
    page.get_by_role("button", name="Save decision").click()
    expect(page.locator(".saved")).to_contain_text("Saved: nsfw")
    expect(page.locator("#review-preview figcaption")).to_contain_text("astronaut.jpg")


def test_a_saved_policy_moves_the_sliders(browser: Browser, tmp_path: Path, sample: Path) -> None:
    """After a policy change, slider, score bar and recorded threshold are equal."""
    with serving(tmp_path) as own, opened(browser, own.url) as page:
        threshold = policy_form(page)
        expect(threshold).to_have_value("0.33")
        threshold.fill("0.6")
        page.get_by_label("Why").fill("a test")
        page.get_by_role("button", name="Save policy").click()
        expect(page.locator("#model-facts")).to_contain_text("a test")
        open_tab(page, "Review")
        expect(page.locator("#review-threshold input[type=number]")).to_have_value("0.6")
        page.locator("#image-input input[type=file]").set_input_files(sample)
        expect(page.locator("#agree")).to_be_enabled()
        page.keyboard.press("a")
        expect(page.locator(".saved")).to_contain_text("threshold 0.60")
        (row,) = own.rows("select threshold from decisions")
        assert row["threshold"] == 0.6


TYPE_AT_ONCE = """() => {
    const timer = setInterval(() => {
        const field = document.querySelectorAll('#policy-form input[type=number]')[1]
        if (field?.value !== '0.33') return
        clearInterval(timer)
        field.value = '0.6'
        field.dispatchEvent(new Event('input', { bubbles: true }))
    }, 0)
}"""


def policy_form(page: Page) -> Locator:
    """Open the policy form; its threshold field."""
    open_policy_form(page)
    return page.get_by_label("Threshold", exact=True).and_(page.locator("input:visible"))


def test_the_policy_form_keeps_what_is_typed_early(page: Page) -> None:
    """The form is filled once, before a user can type."""
    page.evaluate(TYPE_AT_ONCE)
    threshold = policy_form(page)
    expect(threshold).to_have_value("0.6")
    page.wait_for_timeout(500)
    expect(threshold).to_have_value("0.6")


def test_an_outdated_policy_form_saves_nothing(browser: Browser, tmp_path: Path) -> None:
    """Of two users who change the same policy, the second gets an error."""
    with (
        serving(tmp_path) as own,
        opened(browser, own.url) as first,
        opened(browser, own.url) as second,
    ):
        for page, value in ((first, "0.6"), (second, "0.7")):
            threshold = policy_form(page)
            expect(threshold).to_have_value("0.33")
            threshold.fill(value)
            page.get_by_label("Why").fill("a trial")
        first.get_by_role("button", name="Save policy").click()
        expect(first.locator("#model-facts")).to_contain_text("Policy, version 2")
        second.get_by_role("button", name="Save policy").click()
        expect(
            second.get_by_text("The policy has changed since this form was opened.")
        ).to_be_visible()
        assert [row["threshold"] for row in own.rows("select threshold from policies")] == [
            0.33,
            0.6,
        ]
        second.get_by_role("button", name="Change the policy").click()
        second.get_by_role("button", name="Change the policy").click()
        expect(threshold).to_have_value("0.6")
        first.get_by_label("Why").fill("and once more")
        first.get_by_role("button", name="Save policy").click()
        expect(first.locator("#model-facts")).to_contain_text("Policy, version 3")


def test_a_key_needs_a_focused_card(page: Page, server: Server, files: list[Path]) -> None:
    """After an upload the first key only focuses a card; the next one decides."""
    add_to_gallery(page, files[:2])
    (before,) = server.rows("select count(*) as n from decisions")
    page.keyboard.press("a")
    card = page.locator("#grid .card:focus")
    expect(card).to_have_count(1)
    assert server.rows("select count(*) as n from decisions") == [before]


def test_files_added_after_stop_are_classified(page: Page, files: list[Path]) -> None:
    """Stop does not affect files that are added later."""
    open_tab(page, "Gallery")
    held: list[Route] = []
    intercept(page, "**/desk/images?*", lambda route: held.append(route))
    upload = page.locator("#gallery-upload input[type=file]")
    upload.set_input_files(files[:10])
    expect(page.locator("#stop")).to_be_enabled()
    while len(held) < 2:  # as many as are sent at once
        page.wait_for_timeout(20)
    page.locator("#stop").click()
    page.unroute("**/desk/images?*")
    for route in held:
        route.continue_()
    upload.set_input_files(files[20:23])
    expect(page.locator("#gallery-tools")).to_contain_text("Done: 5 of 13")
    expect(page.locator("#grid .summary")).to_contain_text("8 files not sent.")
    expect(page.locator("#grid .card")).to_have_count(13)
    expect(page.locator("#grid .card[data-action=not_sent]")).to_have_count(13 - 3 - len(held))
