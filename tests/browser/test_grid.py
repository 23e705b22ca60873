"""The gallery's grid in Chromium: selection, batch decisions, filters, duplicates."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from nsfw_app.imaging import previews
from tests.support.browser import open_tab, requests_of
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
    page.get_by_label("Order").select_option("name")
    page.locator("#gallery-upload input[type=file]").set_input_files(files)
    done = f"Done: {len(files)} of {len(files)}"
    expect(page.locator("#gallery-tools")).to_contain_text(done, timeout=60_000)


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
    page.get_by_label("Name", exact=True).fill("AXE 0")
    ids = ids_of(page)
    assert len(ids) == 10
    rest = page.locator("#agree-rest")
    expect(rest).to_have_text("Agree with the rest of this page9")
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
                                           { status: 503 }))
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
    add(page, files[:2])
    cards = page.locator("#grid .card")
    expect(cards.nth(0)).not_to_have_attribute("data-action", "unavailable")
    expect(cards.nth(1)).to_have_attribute("data-action", "unavailable")
    expect(cards.nth(1)).to_contain_text("It is gone.")


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
    assert requests == []
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
    page.get_by_label("Name", exact=True).fill("zebra")
    expect(page.locator("#grid .card:visible")).to_have_count(1)
    page.get_by_label("Name", exact=True).fill("")
    add(page, files)
    expect(page.locator("#grid .card")).to_have_count(COUNT)
    expect(page.locator("#grid .copies")).to_have_count(1)
    expect(first.locator(".copies")).to_have_text("2 files")


def test_near_duplicates_collapse_into_one_card_and_expand(
    page: Page, server: Server, files: list[Path]
) -> None:
    """Near duplicates show as one card with their count; hidden ones are not decided."""
    duplicates = []
    with Image.open(files[4]) as image:
        first = previews.perceptual_hash(image)
        for quality in (60, 80, 90):
            path = files[4].with_name(f"like 04 at {quality}.jpg")
            image.save(path, quality=quality)
            duplicates.append(path)
    for path in duplicates:
        with Image.open(path) as image:
            bits = int(first, 16) ^ int(previews.perceptual_hash(image), 16)
        assert bits.bit_count() <= 4
    add(page, [*files, *duplicates])
    card = page.locator("#grid .card:visible")
    expect(card).to_have_count(COUNT + 3)
    expect(page.locator("#grid .near-duplicates")).to_have_count(0)
    page.get_by_role("button", name="Collapse near duplicates").click()
    expect(card).to_have_count(COUNT)
    badge = page.locator("#grid .near-duplicates:visible")
    expect(badge).to_have_text("4 near duplicates")
    expect(page.locator("#grid .summary")).to_contain_text("3 near duplicates collapsed.")
    expect(page.locator("#grid .summary")).to_contain_text("15 images at threshold")
    page.locator("#agree-rest").click()
    expect(page.locator("#grid .message")).to_contain_text("Saved: 12 images")
    badge.click()
    expect(card).to_have_count(COUNT + 3)
    expect(badge).to_have_attribute("aria-expanded", "true")
    names = page.locator("#grid .card:visible .name").all_text_contents()
    assert names[4:8] == [files[4].name, *(path.name for path in duplicates)]
    assert decided(page)[5:8] == ["", "", ""]
    badge.click()
    expect(card).to_have_count(COUNT)
    page.get_by_role("button", name="Collapse near duplicates").click()
    expect(card).to_have_count(COUNT + 3)
    expect(page.locator("#grid .near-duplicates:visible")).to_have_count(0)


def test_page_and_server_agree_on_near_duplicates(page: Page) -> None:
    """The maximum hash distance of near duplicates is the server's."""
    groups = page.evaluate(
        """async (hashes) => {
            const path = 'desk/assets/gallery/duplicates.js'
            const { makeGroups } = await import(new URL(path, location))
            return hashes.map((hash) => {
                const groupOf = makeGroups()
                return groupOf('0000000000000000') === groupOf(hash)
            })
        }""",
        [f"{(1 << bits) - 1:016x}" for bits in range(65)],
    )
    assert groups == [bits <= previews.NEAR_BITS for bits in range(65)]


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
