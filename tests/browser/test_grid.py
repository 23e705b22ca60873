"""The gallery's grid in Chromium: selection, batch decisions, filters, duplicates."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from nsfw_app.imaging import previews
from tests.support.browser import intercept, open_tab, requests_of, resize
from tests.support.server import Server

COUNT = 12
SELECTED = "cards => cards.flatMap((c, i) => c.ariaSelected === 'true' ? [i] : [])"
SHOWN = "cards => cards.filter(c => !c.hidden).map(c => c.dataset.id)"


def noise(seed: int) -> Image.Image:
    """An image of soft noise, different for each seed."""
    pixels = np.random.default_rng(1000 + seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((160, 120), Image.Resampling.BICUBIC)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Twelve images without decisions: their bytes differ from test to test."""
    paths = [tmp_path / f"axe {number:02}.png" for number in range(COUNT)]
    for number, path in enumerate(paths):
        image = noise(number)
        image.putpixel((0, 0), tuple(np.random.default_rng().integers(0, 256, 3).tolist()))
        image.save(path)
    return paths


def add(page: Page, files: list[Path]) -> None:
    """Add files in the Gallery tab, sorted by name, and wait until all are classified."""
    open_tab(page, "Gallery")
    page.locator("#gallery-upload input[type=file]").set_input_files(files)
    done = f"Done: {len(files)} of {len(files)}"
    expect(page.locator("#gallery-tools")).to_contain_text(done, timeout=60_000)
    page.get_by_label("Order").select_option("name")


def open_filters(page: Page) -> None:
    """Open the line of filter fields."""
    page.get_by_role("button", name="Filters", exact=True).click()


def selected(page: Page) -> list[int]:
    """The positions of the selected cards in the grid."""
    return page.locator("#grid .card").evaluate_all(SELECTED)


def rows_of(server: Server, ids: list[str]) -> list[dict]:
    """The log rows about images, oldest first."""
    marks = ", ".join("?" * len(ids))
    sql = f"select * from correction_log where image_sha256 in ({marks}) order by decision_id"
    return server.rows(sql, *ids)


def ids_of(page: Page) -> list[str]:
    """The images of the cards on screen."""
    return page.locator("#grid .card").evaluate_all(SHOWN)


def decided(page: Page) -> list[str]:
    """The decision that each card shows."""
    return page.locator("#grid .card").evaluate_all("cards => cards.map(c => c.dataset.decision)")


def test_a_range_is_selected_by_mouse(page: Page, files: list[Path]) -> None:
    """Click selects one, Shift-click a range, Ctrl-click toggles one, Escape selects none."""
    add(page, files)
    names = page.locator("#grid .card .name")
    bar = page.locator(".selection-bar")
    names.nth(2).click()
    assert selected(page) == [2]
    names.nth(6).click(modifiers=["Shift"])
    assert selected(page) == [2, 3, 4, 5, 6]
    names.nth(4).click(modifiers=["Control"])
    names.nth(9).click(modifiers=["Control"])
    assert selected(page) == [2, 3, 5, 6, 9]
    expect(bar).to_contain_text("5 selected")
    names.nth(11).click(modifiers=["Control", "Shift"])
    assert selected(page) == [2, 3, 5, 6, 9, 10, 11]
    names.nth(1).click(modifiers=["Shift"])
    assert selected(page) == list(range(1, 10))
    page.keyboard.press("Escape")
    assert selected(page) == []
    expect(bar.get_by_role("button", name="nsfw")).to_be_disabled()
    page.locator("#grid .card").nth(3).hover()
    page.get_by_role("button", name="Select axe 03.png").click()
    page.locator("#grid .card").nth(5).hover()
    page.get_by_role("button", name="Select axe 05.png").click()
    assert selected(page) == [3, 5]


def test_a_range_is_selected_by_keys(page: Page, files: list[Path]) -> None:
    """Shift with arrows extends and shrinks the range; an arrow alone clears it."""
    add(page, files)
    card = page.locator("#grid .card")
    card.nth(1).focus()
    for key, wanted in (
        ("ArrowRight", [1, 2]),
        ("ArrowRight", [1, 2, 3]),
        ("ArrowLeft", [1, 2]),
        ("ArrowLeft", [1]),
        ("ArrowLeft", [0, 1]),
    ):
        page.keyboard.press(f"Shift+{key}")
        assert selected(page) == wanted
    columns = card.evaluate_all("c => c.filter(x => x.offsetTop === c[0].offsetTop).length")
    page.keyboard.press("Shift+ArrowDown")
    assert selected(page) == list(range(1, columns + 1))
    expect(card.nth(columns)).to_be_focused()
    page.keyboard.press("ArrowLeft")
    assert selected(page) == []
    expect(card.nth(columns - 1)).to_be_focused()


def test_a_selection_is_one_batch_undone_in_one_step(
    page: Page, server: Server, files: list[Path]
) -> None:
    """One request writes a row for each image under a new batch id; one undo reverts them all."""
    add(page, files)
    ids = ids_of(page)
    card = page.locator("#grid .card")
    card.nth(3).focus()
    page.keyboard.press("2")
    expect(card.nth(3)).to_have_attribute("data-decision", "disagree")
    requests = requests_of(page)
    card.nth(2).locator(".name").click()
    card.nth(5).locator(".name").click(modifiers=["Shift"])
    page.keyboard.press("a")
    for at in (2, 3, 4, 5):
        expect(card.nth(at)).to_have_attribute("data-decision", "agree")
    expect(page.locator("#grid .message")).to_have_text("Saved: 4 images, 4 as normal.")
    expect(card.nth(6)).to_be_focused()
    assert selected(page) == []
    assert len([r for r in requests if r.method == "POST"]) == 1

    rows = rows_of(server, ids)
    (single, *batch) = rows
    assert [row["image_sha256"] for row in batch] == ids[2:6]
    assert len({row["batch_id"] for row in batch}) == 1
    assert batch[0]["batch_id"] not in ("", single["batch_id"])
    assert [(row["agrees"], row["undone"], row["source"]) for row in batch] == [
        (1, 0, "gallery")
    ] * 4

    page.keyboard.press("Backspace")
    expect(page.locator("#grid .message")).to_contain_text("Undone: the decisions about 4 images.")
    assert len([r for r in requests if r.method == "POST"]) == 2
    assert decided(page) == ["", "", "", "disagree", *[""] * 8]
    after = rows_of(server, ids)
    assert [row["undone"] for row in after] == [0, 1, 1, 1, 1]
    page.keyboard.press("Control+z")
    expect(card.nth(3)).to_have_attribute("data-decision", "")
    assert {row["undone"] for row in rows_of(server, ids)} == {1}
    page.keyboard.press("Control+z")
    expect(page.locator("#grid .message")).to_have_text("Nothing to undo.")


def test_a_label_is_set_on_the_selection_by_the_bar(
    page: Page, server: Server, files: list[Path]
) -> None:
    """The bar's buttons record their label, Agree records each image's model label."""
    add(page, files)
    ids = ids_of(page)
    names = page.locator("#grid .card .name")
    bar = page.locator(".selection-bar")
    for first, last, button in ((0, 1, "unsure"), (2, 4, "nsfw"), (5, 6, "Agree")):
        names.nth(first).click()
        names.nth(last).click(modifiers=["Shift"])
        bar.get_by_role("button", name=button, exact=True).click()
        expect(page.locator("#grid .message")).to_contain_text(f"{last - first + 1} images")
        expect(page.locator("#grid .card").nth(last)).not_to_have_attribute("data-decision", "")
    labels = [row["reviewer_label"] for row in rows_of(server, ids)]
    assert labels == ["unsure"] * 2 + ["nsfw"] * 3 + ["normal"] * 2
    assert len({row["batch_id"] for row in rows_of(server, ids)}) == 3
    for left in (5, 2, 0):
        page.keyboard.press("Backspace")
        expect(page.locator("#grid .summary")).to_contain_text(f"{left} decided")


def test_agreeing_with_the_rest_skips_decided_and_hidden_cards(
    page: Page, server: Server, files: list[Path]
) -> None:
    """Only classified cards on screen without a decision are agreed with."""
    broken = files[0].with_name("axe broken.png")
    broken.write_bytes(b"<html>no</html>")
    add(page, [*files, broken])
    page.locator("#grid .card").first.focus()
    page.keyboard.press("x")
    expect(page.locator("#grid .card").first).to_have_attribute("data-decision", "disagree")
    open_filters(page)
    page.get_by_label("Name", exact=True).fill("AXE 0")
    ids = ids_of(page)
    assert len(ids) == 10
    rest = page.locator("#agree-rest")
    expect(rest).to_have_text("Agree with 9 unseen images")
    rest.click()
    expect(rest).to_be_disabled()
    expect(page.locator("#grid .message")).to_have_text("Saved: 9 images, 9 as normal.")
    rows = rows_of(server, ids)
    assert [row["agrees"] for row in rows] == [0] + [1] * 9
    assert len({row["batch_id"] for row in rows[1:]}) == 1
    page.get_by_role("button", name="Clear filters").click()
    assert decided(page).count("") == 3
    page.keyboard.press("Control+z")
    expect(page.locator("#grid .summary")).to_contain_text("1 decided, 1 disagreement.")


def test_a_refused_batch_marks_nothing(page: Page, server: Server, files: list[Path]) -> None:
    """When the server does not save, no card shows a decision and the selection stays."""
    add(page, files)
    ids = ids_of(page)
    page.evaluate(
        """() => {
          const real = window.fetch
          window.fetch = (url, options) => String(url).endsWith('/batches')
            ? Promise.resolve(new Response('{"error": {"message": "The disk is full."}}',
                                           { status: 409 }))
            : real(url, options)
        }"""
    )
    names = page.locator("#grid .card .name")
    names.nth(0).click()
    names.nth(3).click(modifiers=["Shift"])
    page.keyboard.press("1")
    expect(page.locator("#grid .message")).to_have_text("Not saved: 4 images. The disk is full.")
    assert set(decided(page)) == {""}
    assert selected(page) == [0, 1, 2, 3]
    assert rows_of(server, ids) == []
    page.keyboard.press("Backspace")
    expect(page.locator("#grid .message")).to_have_text("Nothing to undo.")


def test_uploads_are_retried_only_while_the_server_is_busy(page: Page, files: list[Path]) -> None:
    """A busy database is retried; an error that an operator must fix is shown immediately."""
    page.evaluate(
        """() => {
          const real = window.fetch
          const refused = (kind, message) => Promise.resolve(new Response(
            JSON.stringify({ error: { kind, message } }),
            { status: 503, headers: { 'retry-after': '0' } },
          ))
          let sent = 0
          window.fetch = (url, options) => {
            if (!String(url).includes('/images?')) return real(url, options)
            if (String(url).includes('axe+01')) return refused('storage_missing', 'It is gone.')
            sent += 1
            return sent < 3 ? refused('storage_busy', 'It is locked.') : real(url, options)
          }
        }"""
    )
    open_tab(page, "Gallery")
    page.locator("#gallery-upload input[type=file]").set_input_files(files[:2])
    expect(page.locator("#gallery-tools")).to_contain_text("1 of 2")
    expect(page.locator("#grid .summary")).to_contain_text("1 file not sent.")
    cards = page.locator("#grid .card")
    expect(cards.filter(has_text="axe 00")).to_have_attribute("data-action", "allow")
    refused = cards.filter(has_text="axe 01")
    expect(refused).to_have_attribute("data-action", "not_sent")
    expect(refused).to_contain_text("It is gone.")


def test_filters_hide_cards_and_the_summary_counts_the_rest(page: Page, files: list[Path]) -> None:
    """Decision, reason, name and score filter what is shown and counted."""
    add(page, files)
    summary = page.locator("#grid .summary")
    expect(summary).to_contain_text("12 images at threshold")
    card = page.locator("#grid .card")
    card.nth(0).focus()
    page.keyboard.press("a")
    page.keyboard.press("x")
    page.keyboard.press("n")
    page.get_by_text("Medical", exact=True).click()
    page.get_by_role("button", name="Save decision").click()
    expect(summary).to_contain_text("3 decided, 2 disagreements.")

    open_filters(page)
    decision = page.get_by_label("Decision", exact=True)
    for value, count in (("agree", 1), ("disagree", 2), ("open", 9), ("any", 12)):
        decision.select_option(value)
        expect(page.locator("#grid .card:visible")).to_have_count(count)
    decision.select_option("disagree")
    expect(summary).to_contain_text("2 of 12 images at threshold")
    expect(summary).to_contain_text("10 are hidden by the filters.")
    expect(page.get_by_role("button", name=re.compile(r"^All 2$"))).to_be_visible()
    page.get_by_label("Reason", exact=True).select_option("medical")
    expect(page.locator("#grid .card:visible")).to_have_count(1)
    expect(page.locator("#grid .card:visible")).to_have_attribute(
        "aria-label", re.compile("^axe 02")
    )
    page.get_by_role("button", name="Clear filters").click()
    expect(summary).to_contain_text("12 images at threshold")

    scores = sorted(float(s) for s in card.evaluate_all("c => c.map(x => x.dataset.score)"))
    low, high = scores[3] - 1e-6, scores[8] + 1e-6
    page.get_by_label("Score from").fill(f"{low:.7f}")
    page.get_by_label("Score to").fill(f"{high:.7f}")
    inside = sum(float(f"{low:.7f}") <= score <= float(f"{high:.7f}") for score in scores)
    expect(page.locator("#grid .card:visible")).to_have_count(inside)
    expect(summary).to_contain_text(f"{inside} of 12 images")
    page.get_by_label("Score from").fill("0.99")
    expect(page.locator("#grid .empty")).to_contain_text("No image matches the filters.")
    expect(summary).to_contain_text("0 of 12 images")
    page.get_by_label("Score from").fill("")
    page.get_by_label("Score to").fill("")
    expect(page.locator("#grid .card:visible")).to_have_count(12)


def test_hidden_cards_are_deselected(page: Page, server: Server, files: list[Path]) -> None:
    """No hidden image is decided: hidden cards leave the selection, ranges skip them."""
    add(page, files)
    names = page.locator("#grid .card .name")
    names.nth(0).click()
    names.nth(11).click(modifiers=["Shift"])
    expect(page.locator(".selection-bar")).to_contain_text("12 selected")
    open_filters(page)
    page.get_by_label("Name", exact=True).fill("axe 1")
    expect(page.locator(".selection-bar")).to_contain_text("2 selected")
    ids = ids_of(page)
    page.locator(".selection-bar").get_by_role("button", name="normal").click()
    expect(page.locator("#grid .summary")).to_contain_text("2 decided")
    page.get_by_role("button", name="Clear filters").click()
    assert [bool(decision) for decision in decided(page)] == [False] * 10 + [True] * 2
    assert len(rows_of(server, ids)) == 2


def test_typing_a_name_decides_nothing(page: Page, server: Server, files: list[Path]) -> None:
    """Shortcut keys, Backspace included, only type in a filter field."""
    add(page, files)
    ids = ids_of(page)
    names = page.locator("#grid .card .name")
    names.nth(0).click()
    names.nth(3).click(modifiers=["Shift"])
    open_filters(page)
    requests = requests_of(page)
    field = page.get_by_label("Name", exact=True)
    field.click()
    page.keyboard.type("axe 12 nbv?")
    for _ in range(4):
        page.keyboard.press("Backspace")
    page.keyboard.press("Control+z")
    expect(field).to_be_focused()
    field.fill("axe")
    expect(page.locator("#grid .card:visible")).to_have_count(12)
    assert [r.url for r in requests if not r.url.endswith("/desk/heartbeat")] == []
    assert set(decided(page)) == {""}
    assert rows_of(server, ids) == []


def test_the_same_file_twice_is_one_card_with_a_count(page: Page, files: list[Path]) -> None:
    """Equal bytes within an upload make one card with a count; either name finds it."""
    copy = files[0].with_name("zebra.png")
    copy.write_bytes(files[0].read_bytes())
    add(page, [*files, copy])
    expect(page.locator("#grid .card")).to_have_count(COUNT)
    first = page.locator("#grid .card").first
    expect(first.locator(".copies")).to_have_text("2 files")
    expect(first).to_have_attribute("aria-label", re.compile("2 files"))
    expect(page.locator("#grid .copies")).to_have_count(1)
    expect(page.locator("#grid .summary")).to_contain_text("1 more file with the same content.")
    open_filters(page)
    page.get_by_label("Name", exact=True).fill("zebra")
    expect(page.locator("#grid .card:visible")).to_have_count(1)
    page.get_by_label("Name", exact=True).fill("")
    add(page, files)
    expect(page.locator("#grid .card")).to_have_count(COUNT)
    expect(page.locator("#grid .copies")).to_have_count(1)
    expect(first.locator(".copies")).to_have_text("2 files")


def near_duplicates(of: Path, tmp_path: Path) -> list[Path]:
    """Three files with other bytes that look like an image."""
    made = []
    with Image.open(of) as image:
        first = previews.perceptual_hash(image)
        for quality in (60, 80, 90):
            path = tmp_path / f"like {of.stem} at {quality}.jpg"
            image.save(path, quality=quality)
            made.append(path)
    for path in made:
        with Image.open(path) as image:
            assert previews.are_near_duplicates(first, previews.perceptual_hash(image))
    return made


def test_near_duplicates_collapse_into_one_card_and_expand(
    page: Page, files: list[Path], tmp_path: Path
) -> None:
    """Near duplicates show as one card with their count, until it is expanded."""
    duplicates = near_duplicates(files[4], tmp_path)
    add(page, [*files, *duplicates])
    card = page.locator("#grid .card:visible")
    expect(card).to_have_count(COUNT + 3)
    expect(page.locator("#grid .near-duplicates")).to_have_count(0)
    open_filters(page)
    page.get_by_role("button", name="Collapse near duplicates").click()
    expect(card).to_have_count(COUNT)
    badge = page.locator("#grid .near-duplicates:visible")
    expect(badge).to_have_text("4 near duplicates")
    expect(page.locator("#grid .summary")).to_contain_text("3 near duplicates collapsed.")
    expect(page.locator("#grid .summary")).to_contain_text("15 images at threshold")
    badge.click()
    expect(card).to_have_count(COUNT + 3)
    expect(badge).to_have_attribute("aria-expanded", "true")
    names = page.locator("#grid .card:visible .name").all_text_contents()
    assert names[4:8] == [files[4].name, *(path.name for path in duplicates)]
    badge.click()
    expect(card).to_have_count(COUNT)
    page.get_by_role("button", name="Collapse near duplicates").click()
    expect(card).to_have_count(COUNT + 3)
    expect(page.locator("#grid .near-duplicates:visible")).to_have_count(0)


def test_the_grid_is_accessible_to_screen_readers(page: Page, files: list[Path]) -> None:
    """A grid of selectable cells, one of them in the tab order, none revealed."""
    add(page, files)
    grid = page.get_by_role("grid", name="Images")
    expect(grid).to_have_attribute("aria-multiselectable", "true")
    cells = grid.get_by_role("gridcell")
    expect(cells).to_have_count(COUNT)
    states = cells.evaluate_all("c => c.map(x => [x.ariaSelected, x.tabIndex])")
    assert sorted(json.dumps(state) for state in states) == sorted(
        ['["false", 0]', *['["false", -1]'] * (COUNT - 1)]
    )
    cells.nth(0).locator(".name").click()
    cells.nth(4).locator(".name").click(modifiers=["Shift"])
    expect(page.locator("#grid .real")).to_have_count(0)


def test_a_row_of_the_grid_is_a_line_of_cards(page: Page, files: list[Path]) -> None:
    """Rows follow the lines on screen, also at another width, card size or filter."""
    add(page, files)
    grid = page.get_by_role("grid", name="Images")

    def check(cards: int) -> None:
        page.wait_for_function(
            """() => {
              const grid = document.querySelector('#grid [role=grid]')
              const rows = [...grid.querySelectorAll('[role=row]')]
              const lines = rows.map((row) => [...row.children].map((card) => card.offsetTop))
              return rows.length === +grid.ariaRowCount
                && lines.every((tops) => new Set(tops).size === 1)
                && new Set(lines.map(([top]) => top)).size === rows.length
                && lines.slice(0, -1).every((line) => line.length === +grid.ariaColCount)
            }"""
        )
        assert grid.get_by_role("row").get_by_role("gridcell").count() == cards

    check(COUNT)
    resize(page, 900, 900)
    check(COUNT)
    page.locator("#grid .card").nth(5).focus()
    page.keyboard.press("+")
    page.keyboard.press("+")
    check(COUNT)
    expect(page.locator("#grid .card").nth(5)).to_be_focused()
    wide = page.locator("#grid .card").nth(5).bounding_box()
    open_filters(page)
    page.get_by_role("button", name="Smaller cards").click()
    narrow = page.locator("#grid .card").nth(5).bounding_box()
    assert wide is not None
    assert narrow is not None
    assert narrow["width"] < wide["width"]
    page.get_by_label("Name", exact=True).fill("axe 0")
    check(10)
    names = page.locator("#grid .card:visible .name").all_text_contents()
    assert names == [f"axe {number:02}.png" for number in range(10)]
    page.get_by_label("Name", exact=True).fill("nothing")
    expect(grid).to_be_hidden()
    page.get_by_label("Name", exact=True).fill("")
    check(COUNT)
    page.reload()
    add(page, files)
    kept = page.locator("#grid .card").nth(5).bounding_box()
    assert kept is not None
    assert kept["width"] == narrow["width"]
    first = page.locator("#grid .card").first
    for name in ("Agree: axe 00.png", "Disagree: axe 00.png", "Select axe 00.png"):
        expect(first.get_by_role("button", name=name, exact=True)).to_have_count(1)
    expect(first.locator(".reveal")).to_contain_text("axe 00.png")


def test_keys_of_a_long_list(page: Page, files: list[Path]) -> None:
    """Home, End and the page keys move, with Shift they select; Ctrl+A selects what is shown."""
    add(page, files)
    card = page.locator("#grid .card")
    card.nth(3).focus()
    for key, at in (("End", COUNT - 1), ("Home", 0), ("PageDown", COUNT - 1), ("PageUp", 0)):
        page.keyboard.press(key)
        expect(card.nth(at)).to_be_focused()
    card.nth(8).focus()
    page.keyboard.press("Shift+End")
    assert selected(page) == [8, 9, 10, 11]
    page.keyboard.press("Control+a")
    assert selected(page) == list(range(COUNT))
    assert page.evaluate("getSelection().toString()") == ""
    page.keyboard.press("Escape")
    open_filters(page)
    page.get_by_label("Name", exact=True).fill("axe 1")
    page.locator("#grid .card:visible").first.focus()
    page.keyboard.press("Control+a")
    expect(page.locator(".selection-bar")).to_contain_text("2 selected")


def test_one_history_of_decisions_second_opinions_and_skips(
    page: Page, server: Server, files: list[Path]
) -> None:
    """Backspace takes back what was done last, of any kind, and returns to its card."""
    add(page, files[:4])
    ids = ids_of(page)
    card = page.locator("#grid .card")
    message = page.locator("#grid .message")
    waiting = """
        select p.image_sha256 from queue q join predictions p on p.id = q.prediction_id
        where q.reason = 'second_opinion' and p.image_sha256 = ?
    """
    card.nth(0).focus()
    page.keyboard.press("2")
    expect(message).to_have_text("Saved: axe 00.png is nsfw.")
    page.keyboard.press("f")
    expect(message).to_have_text("axe 01.png is in the queue for a second opinion.")
    assert len(server.rows(waiting, ids[1])) == 1
    page.keyboard.press("Space")
    expect(card.nth(3)).to_be_focused()
    page.keyboard.press("Space")  # there is no next card: nothing is skipped
    page.keyboard.press("Backspace")
    expect(message).to_have_text("The skip is undone: axe 02.png.")
    expect(card.nth(2)).to_be_focused()
    page.keyboard.press("Backspace")
    expect(message).to_have_text("The request for a second opinion is withdrawn: axe 01.png.")
    expect(card.nth(1)).to_be_focused()
    assert server.rows(waiting, ids[1]) == []
    expect(card.nth(0)).to_have_attribute("data-decision", "disagree")
    page.keyboard.press("Backspace")
    expect(message).to_contain_text("Undone: the decision about axe 00.png.")
    expect(card.nth(0)).to_be_focused()
    page.keyboard.press("Backspace")
    expect(message).to_have_text("Nothing to undo.")


def test_a_filter_with_the_focus_swallows_no_keys(page: Page, files: list[Path]) -> None:
    """After a click the next key decides; after Tab it focuses the card, and V reveals."""
    add(page, files[:3])
    card = page.locator("#grid .card")
    chip = page.get_by_role("button", name=re.compile("^Allow"))
    chip.click()
    expect(card.nth(0)).to_be_focused()
    page.keyboard.press("2")
    expect(card.nth(0)).to_have_attribute("data-decision", "disagree")
    every = page.get_by_role("button", name=re.compile("^All "))
    every.focus()
    page.keyboard.down("v")
    expect(card.nth(1).locator(".real")).to_have_js_property("complete", True)
    page.keyboard.up("v")
    for key in ("2", "f", "n"):
        every.focus()
        page.keyboard.press(key)
        expect(card.nth(1)).to_be_focused()
    page.keyboard.press("2")
    expect(card.nth(1)).to_have_attribute("data-decision", "disagree")
    every.focus()
    page.keyboard.press("Space")
    expect(card.nth(2)).to_be_focused()
    expect(chip).to_have_attribute("aria-pressed", "true")
    every.focus()
    page.keyboard.press("Backspace")
    expect(card.nth(1)).to_have_attribute("data-decision", "")
    assert decided(page) == ["disagree", "", ""]


def test_unsure_is_neither_agreement_nor_disagreement(page: Page, files: list[Path]) -> None:
    """Unsure is shown, counted and filtered on its own; the threshold changes who agrees."""
    add(page, files[:3])
    card = page.locator("#grid .card")
    summary = page.locator("#grid .summary")
    card.nth(0).focus()
    for key in "3a2":
        page.keyboard.press(key)
    for at, decision in enumerate(("unsure", "agree", "disagree")):
        expect(card.nth(at)).to_have_attribute("data-decision", decision)
    expect(summary).to_contain_text("3 decided, 1 disagreement, 1 unsure.")
    expect(card.nth(0)).to_contain_text("You: unsure")
    expect(card.nth(0).locator('.quick[aria-pressed="true"]')).to_have_count(0)
    page.locator("#gallery-threshold input[type=number]").fill("0")
    page.keyboard.press("Tab")
    expect(card.nth(2)).to_have_attribute("data-label", "nsfw")
    assert decided(page) == ["unsure", "disagree", "agree"]
    expect(card.nth(1)).to_contain_text("You: normal")
    expect(card.nth(2).locator(".agree")).to_have_attribute("aria-pressed", "true")
    expect(summary).to_contain_text("3 decided, 1 disagreement, 1 unsure.")
    open_filters(page)
    for state, at in (("unsure", 0), ("disagree", 1), ("agree", 2)):
        page.get_by_label("Decision", exact=True).select_option(state)
        shown = page.locator("#grid .card:visible")
        expect(shown).to_have_count(1)
        expect(shown).to_have_attribute("aria-label", re.compile(f"^axe 0{at}"))


def test_decisions_say_whether_the_image_was_seen(
    page: Page, server: Server, files: list[Path]
) -> None:
    """Cards, the button for the rest and each request say what was revealed, and for how long."""
    add(page, files[:3])
    requests = requests_of(page)
    card = page.locator("#grid .card")
    rest = page.locator("#agree-rest")
    expect(card.nth(0)).to_contain_text("Not seen")
    expect(rest).to_have_text("Agree with 3 unseen images")
    card.nth(0).focus()
    page.keyboard.down("v")
    expect(card.nth(0).locator(".seen")).to_have_text("Seen")
    page.keyboard.up("v")
    expect(card.nth(0)).to_have_attribute("aria-label", re.compile(", seen, no decision"))
    expect(rest).to_have_text("Agree with 3 images, 2 unseen")
    page.keyboard.press("a")
    expect(rest).to_have_text("Agree with 2 unseen images")
    for at in (1, 2):
        expect(card.nth(at)).to_have_attribute("data-decision", "")
        card.nth(at).focus()
        page.keyboard.down("v")
        expect(card.nth(at).locator(".seen")).to_have_text("Seen")
        page.keyboard.up("v")
    expect(rest).to_have_text("Agree with 2 images")
    page.keyboard.press("a")
    expect(card.nth(2)).to_have_attribute("data-decision", "agree")
    card.nth(1).locator(".disagree").click()
    expect(card.nth(1)).to_have_attribute("data-decision", "disagree")
    expect(card.nth(1)).to_be_focused()
    bodies = [r.post_data_json for r in requests if r.url.endswith("/decisions")]
    assert len(bodies) == 3
    for body in bodies:
        assert body["tab"] == "gallery"
        assert body["policy_version"] == 1
        assert body["seen"] is True
        assert 0 <= body["seen_ms"] < 60_000
    assert [row["seen"] for row in rows_of(server, ids_of(page))] == [1] * 3


def test_agreeing_with_many_asks_first(
    page: Page, server: Server, files: list[Path], tmp_path: Path
) -> None:
    """Above 20 images a question comes first; Space and Escape record nothing."""
    more = []
    for number in range(9):
        path = tmp_path / f"more {number}.png"
        noise(100 + number).resize((90 + number, 80)).save(path)
        more.append(path)
    add(page, [*files, *more])
    rest = page.locator("#agree-rest")
    expect(rest).to_have_text("Agree with 21 unseen images")
    ids = ids_of(page)
    question = page.get_by_role("dialog", name="Agree with 21 images?")
    for key in (" ", "a", "Escape"):
        rest.click()
        expect(question).to_contain_text("You have not seen 21 of them.")
        page.keyboard.press(key)
        page.keyboard.press("Escape")
        expect(question).to_be_hidden()
    assert rows_of(server, ids) == []
    rest.click()
    question.get_by_role("button", name="Agree with 21 unseen images").click()
    expect(page.locator("#grid .message")).to_contain_text("Saved: 21 images")
    assert len({row["batch_id"] for row in rows_of(server, ids)}) == 1
    expect(page.locator("#grid .card:focus")).to_have_count(1)


def test_collapsed_near_duplicates_are_decided_together(
    page: Page, server: Server, files: list[Path], tmp_path: Path
) -> None:
    """A decision on a collapsed group shows all members first, then is recorded for each."""
    duplicates = near_duplicates(files[4], tmp_path)
    add(page, [*files[:6], *duplicates])
    open_filters(page)
    page.get_by_role("button", name="Collapse near duplicates").click()
    card = page.locator("#grid .card:visible")
    expect(card).to_have_count(6)
    strip = page.get_by_role("dialog", name="4 near duplicates")
    items = strip.get_by_role("listitem")
    card.nth(4).focus()
    page.keyboard.press("x")
    expect(items).to_have_count(4)
    expect(strip.locator(".real")).to_have_count(0)
    expect(items.nth(1)).to_contain_text("will be nsfw")
    page.keyboard.down("v")
    expect(strip.locator(".real")).to_have_count(4)
    page.keyboard.up("v")
    expect(strip.locator(".real")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(strip).to_be_hidden()
    expect(card.nth(4)).to_be_focused()
    ids = ids_of(page)
    members = page.locator("#grid .card").evaluate_all(
        "cards => cards.filter(c => c.ariaLabel.includes('04')).map(c => c.dataset.id)"
    )
    assert len(members) == 4
    assert rows_of(server, members) == []

    card.nth(4).locator(".disagree").click()
    expect(strip).to_contain_text("One decision is recorded for each of them.")
    page.keyboard.press("Enter")
    expect(page.locator("#grid .message")).to_have_text("Saved: 4 images, 4 as nsfw.")
    rows = rows_of(server, members)
    assert {row["image_sha256"] for row in rows} == set(members)
    assert {row["reviewer_label"] for row in rows} == {"nsfw"}
    assert len({row["batch_id"] for row in rows}) == 1
    page.keyboard.press("Backspace")
    expect(page.locator("#grid .message")).to_contain_text("Undone: the decisions about 4 images")

    page.locator("#agree-rest").click()
    expect(strip).to_contain_text("and for 5 more images")
    strip.get_by_role("button", name="Save 9 images as normal").click()
    expect(page.locator("#grid .message")).to_have_text("Saved: 9 images, 9 as normal.")
    assert len(rows_of(server, ids)) == 6 + 1  # of the group's first member, one is undone


def test_reasons_and_a_note_for_a_selection(page: Page, server: Server, files: list[Path]) -> None:
    """N opens one form for the selection; its label, reasons and note are saved for each image."""
    add(page, files[:5])
    ids = ids_of(page)
    card = page.locator("#grid .card")
    card.nth(1).locator(".name").click()
    card.nth(3).locator(".name").click(modifiers=["Shift"])
    page.keyboard.press("n")
    form = page.get_by_role("dialog", name="Decision about 3 images")
    form.get_by_text("Medical", exact=True).click()
    form.get_by_label("Note").fill("the same ward")
    form.get_by_role("button", name="Save decision").click()
    expect(page.locator("#grid .message")).to_have_text("Saved: 3 images, 3 as nsfw.")
    rows = rows_of(server, ids)
    assert [row["image_sha256"] for row in rows] == ids[1:4]
    assert {(row["reasons"], row["note"]) for row in rows} == {('["medical"]', "the same ward")}
    assert len({row["batch_id"] for row in rows}) == 1
    expect(card.nth(4)).to_be_focused()


def test_the_form_for_images_of_both_labels_asks(page: Page, files: list[Path]) -> None:
    """It proposes no label, and saves nothing until one is chosen."""

    def classify(route: Route) -> None:
        image = route.fetch().json()
        route.fulfill(json=image | ({"nsfw_score": 0.9} if "01" in image["name"] else {}))

    intercept(page, "**/desk/images?*", classify)
    add(page, files[:3])
    card = page.locator("#grid .card")
    expect(card.nth(1)).to_have_attribute("data-label", "nsfw")
    card.nth(0).locator(".name").click()
    card.nth(1).locator(".name").click(modifiers=["Shift"])
    page.keyboard.press("n")
    form = page.get_by_role("dialog", name="Decision about 2 images")
    expect(form.get_by_role("radio", checked=True)).to_have_count(0)
    form.get_by_role("button", name="Save decision").click()
    expect(form.get_by_role("alert")).to_have_text("Choose a label.")
    form.get_by_text("Normal", exact=True).click()
    form.get_by_role("button", name="Save decision").click()
    expect(page.locator("#grid .message")).to_have_text("Saved: 2 images, 2 as normal.")


def test_a_whole_card_is_visible_on_a_low_screen(page: Page, files: list[Path]) -> None:
    """At 720x450, as at 200 % zoom, a card and its buttons are in view, uncovered by bars."""
    long = files[0].with_name("a rather long name of an image that does not fit 0042.png")
    files[0].rename(long)
    resize(page, 720, 450)
    add(page, [long, *files[1:]])
    for size in range(6):
        card = page.locator("#grid .card").nth(4)
        card.focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowLeft")
        box = card.bounding_box()
        assert box is not None
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= 450, size
        covered = card.locator(".quick").evaluate_all(
            """buttons => buttons.filter((button) => {
              const { left, top, width, height } = button.getBoundingClientRect()
              return document.elementFromPoint(left + width / 2, top + height / 2) !== button
            }).length"""
        )
        assert covered == 0, size
        page.keyboard.press("+")
    page.keyboard.press("Home")
    first = page.locator("#grid .card").first.locator(".name")
    expect(first).to_have_attribute("dir", "auto")
    expect(first).to_have_text(long.name)
    for _ in range(6):
        page.keyboard.press("-")
    end = first.locator(".name-end")
    assert end.inner_text().endswith("0042.png")
    inside = first.evaluate(
        "name => name.lastChild.getBoundingClientRect().right <= name.getBoundingClientRect().right"
    )
    assert inside
    assert first.locator(".name-start").evaluate("start => start.scrollWidth > start.clientWidth")


def test_the_tools_take_one_line_above_the_cards(page: Page, files: list[Path]) -> None:
    """With cards, drop zone and tools share one line of at most 48 pixels, on a phone none."""
    open_tab(page, "Gallery")
    expect(page.locator("#gallery-tools .chips")).to_be_hidden()
    expect(page.get_by_text("Drop images, paste them, or choose files")).to_be_visible()
    add(page, files)
    expect(page.get_by_text("Add files", exact=True)).to_be_visible()
    for size, most in (((1440, 900), 56), ((390, 844), 8)):
        resize(page, *size)
        page.evaluate("scrollTo(0, 0)")
        tabs = page.locator("[role=tabpanel]:visible").first.bounding_box()
        card = page.locator("#grid .card").first.bounding_box()
        assert tabs is not None
        assert card is not None
        assert card["y"] - tabs["y"] <= most


def test_required_reasons_and_required_sight(page: Page, files: list[Path]) -> None:
    """A disagreement opens the form where it needs a reason; the rest are the seen images only."""

    def require(route: Route) -> None:
        required = {"require_seen": ["gallery"], "require_reason": True}
        route.fulfill(json={**route.fetch().json(), **required})

    page.route("**/desk/status", require)
    page.reload()
    add(page, files[:4])
    requests = requests_of(page)
    card = page.locator("#grid .card")
    rest = page.locator("#agree-rest")
    expect(rest).to_have_text("Agree with 0 images")
    expect(rest).to_be_disabled()
    card.nth(0).focus()
    page.keyboard.down("v")
    expect(rest).to_have_text("Agree with 1 image")
    page.keyboard.up("v")
    for open_form in (
        lambda: page.keyboard.press("x"),
        lambda: card.nth(0).locator(".disagree").click(),
    ):
        open_form()
        form = page.get_by_role("dialog", name="Decision about axe 00.png")
        expect(form.get_by_role("radio", name="NSFW")).to_be_checked()
        page.keyboard.press("Escape")
        expect(card.nth(0)).to_be_focused()
    assert [request for request in requests if request.method == "POST"] == []
    rest.click()
    expect(card.nth(0)).to_have_attribute("data-decision", "agree")
    assert decided(page)[1:] == [""] * 3
