"""Sequences of keys and clicks, compared with a model of what each one means.

All sequences of up to three keys and clicks from each start: the stage or a card of Queue, Review,
Gallery and Relabel, a tab, a slider, a filter and a button with the focus. Most of them have the
marker `exhaustive`, for their time. The usual run has all sequences of two from the Queue's stage.
From there it has those of three, and from the other tabs those of two, of the symbols that decide,
undo, leave an image, or open or close something: the others change how images are shown, or do the
same as one of these.

The page is the real one; the routes of decisions are scripted in it, so that thousands of
sequences take minutes. `scripted_desk.js` writes down each key, the image on the stage at that
moment, and what the page then asked of the server.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, CDPSession, Page, expect

from tests.support.browser import open_tab, opened
from tests.support.server import Server

SCRIPT = Path(__file__).with_name("scripted_desk.js").read_text()
KEYS = [*"ax123fnvbp?", " ", "Backspace", "Control+z", "Enter", "Escape"]
CORE_KEYS = [*"axf", " ", "Backspace", "Enter", "Escape"]
ANSWERS = ["click Agree", "click Disagree"]
LABEL_CLICKS = ["click Normal", "click NSFW", "click Unsure"]
FORM_CLICKS = ["click Save decision", "click Cancel"]
LABELS = {"1": "normal", "2": "nsfw", "3": "unsure"}
LABELS |= {"click Normal": "normal", "click NSFW": "nsfw", "click Unsure": "unsure"}
OPPOSITE = {"normal": "nsfw", "nsfw": "normal"}
OPENING = frozenset({"?", "n", "x", "click Disagree", "Enter"})
RELEASED = (" ", "v", "Enter")  # of the others the release does nothing
EXCLUDED = ""  # from the training set
WITHDRAWN = "withdrawn"


@dataclass
class Meaning:
    """What each key means: the model that the page is compared with.

    `done` are the actions that can be undone, the last one last. `last` is the last card of a grid,
    after which Space finds none.
    """

    tab: str
    last: str | None = None
    form: str | None = None
    about: str = ""
    typing: bool = False
    listing: bool = False
    given: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    done: list[tuple[str, str | None]] = field(default_factory=list)

    def press(self, key: str, stage: str | None) -> list[tuple[str, ...]]:
        """What the server is asked when a key is pressed while this image is on the stage."""
        if self.listing:
            self.listing = key not in ("?", "Escape")
            return []
        if key == "Escape":
            self.form, self.typing = None, False
            return []
        if self.typing and not key.startswith("click"):
            return []
        if key == "?":
            self.listing = True
            return []
        return self._in_form(key) if self.form else self._on_stage(key, stage)

    def _in_form(self, key: str) -> list[tuple[str, ...]]:
        if key in ("Enter", "click Save decision"):
            label, self.form, self.typing = self.form or "", None, False
            return self._decide(self.about, label)
        if key == "click Cancel":
            self.form, self.typing = None, False
        elif key.startswith("click"):
            self.typing = False  # its buttons are disabled: only the focus moves
        elif key in LABELS:
            self.form = LABELS[key]
        elif key == "n":
            self.typing = True
        return []

    def _on_stage(self, key: str, stage: str | None) -> list[tuple[str, ...]]:
        if key in ("Backspace", "Control+z"):
            return self._undo()
        if stage is None:
            return []
        if key == " " and stage == self.last:
            return []
        if key == " ":
            return self._act("skip", stage, silent=self.tab != "Queue")
        if key == "f":
            return self._act("escalate", stage)
        if self.tab == "Relabel":
            return self._relabel(key, stage)
        if key in ("a", "click Agree"):
            return self._decide(stage, model_label(stage))
        if key in LABELS:
            return self._decide(stage, LABELS[key])
        if key in ("x", "n", "click Disagree"):
            return self._disagree(key, stage)
        return []

    def _relabel(self, key: str, stage: str) -> list[tuple[str, ...]]:
        labels = {"a": model_label(stage), "x": EXCLUDED, "click Exclude": EXCLUDED, **LABELS}
        label = labels.get(key)
        if label is None or label == "unsure":
            return []
        self.done.append(("training", stage))
        self.given[stage].append(label)
        return [("training", stage, label)]

    def _disagree(self, key: str, stage: str) -> list[tuple[str, ...]]:
        other = OPPOSITE[model_label(stage)]
        if self.tab == "Gallery" and key != "n":
            return self._decide(stage, other)
        own = self.given[stage] if self.tab == "Gallery" else []
        self.form, self.about, self.typing = (own or [other])[-1], stage, key == "n"
        return []

    def _decide(self, stage: str, label: str) -> list[tuple[str, ...]]:
        self.done.append(("decision", stage))
        self.given[stage].append(label)
        return [("decision", stage, label)]

    def _act(self, kind: str, stage: str, *, silent: bool = False) -> list[tuple[str, ...]]:
        self.done.append(("moved" if silent else kind, stage))
        return [] if silent else [(kind, stage)]

    def _undo(self) -> list[tuple[str, ...]]:
        if not self.done:
            return []
        kind, image = self.done.pop()
        if kind in ("decision", "training"):
            self.given[image or ""].pop()
        if kind == "training":
            return [("training", image or "", (self.given[image or ""] or [WITHDRAWN])[-1])]
        undone = {"decision": "undo", "skip": "unskip", "escalate": "withdraw"}.get(kind)
        return [(undone, image or "")] if undone else []


def model_label(image: str) -> str:
    """The label that A agrees with, the model's or the settled one: names begin with it."""
    return image.split()[0]


@dataclass
class Driver:
    """Presses keys and clicks in the page, and reads its journal."""

    page: Page
    cdp: CDPSession

    def press(self, key: str) -> None:
        """Press one key, or click a button where there is one."""
        if key.startswith("click "):
            self.click(key.removeprefix("click "))
            return
        modifiers, name = (2, key[8:]) if key.startswith("Control+") else (0, key)
        one = len(name) == 1
        values = {
            "key": name,
            "code": code_of(name),
            "modifiers": modifiers,
            "windowsVirtualKeyCode": virtual_key(name),
        }
        text = name if one and not modifiers else "\r" if name == "Enter" else ""
        kind = "keyDown" if text else "rawKeyDown"
        self.cdp.send("Input.dispatchKeyEvent", {"type": kind, "text": text, **values})
        if name in RELEASED:
            self.cdp.send("Input.dispatchKeyEvent", {"type": "keyUp", **values})

    def click(self, words: str) -> None:
        """Click the visible button with these words, if there is one."""
        point = self.evaluate(f"desk.aim({words!r})")
        if point is None:
            return
        for kind in ("mousePressed", "mouseReleased"):
            values = {"type": kind, "x": point[0], "y": point[1], "button": "left", "clickCount": 1}
            self.cdp.send("Input.dispatchMouseEvent", values)

    def evaluate(self, script: str) -> Any:
        """The value of an expression in the page."""
        found = self.cdp.send(
            "Runtime.evaluate", {"expression": script, "returnByValue": True, "awaitPromise": True}
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")


def code_of(name: str) -> str:
    """The physical key."""
    if name.isalpha() and len(name) == 1:
        return f"Key{name.upper()}"
    return f"Digit{name}" if name.isdigit() else {" ": "Space", "?": "Slash"}.get(name, name)


def virtual_key(name: str) -> int:
    """Its number on Windows, which Chromium needs for keys that act themselves."""
    named = {"Backspace": 8, "Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowRight": 39}
    return named.get(name) or (191 if name == "?" else ord(name.upper()))


@pytest.fixture
def scripted(browser: Browser, server: Server) -> Iterator[Page]:
    """The page with scripted routes of decisions."""
    with opened(browser, server.url, script=SCRIPT) as page:
        yield page


def sequences(symbols: Sequence[str], sizes: Iterable[int]) -> Iterator[tuple[str, ...]]:
    """All sequences of these lengths."""
    for size in sizes:
        yield from itertools.product(symbols, repeat=size)


def closing(keys: Sequence[str]) -> list[str]:
    """The keys that close what a sequence may leave open: the list of keys, a form, the loupe."""
    return ["Escape"] * len(OPENING.intersection(keys))


def check(journal: list[dict[str, Any]], meaning: Meaning) -> int:
    """Compare a journal with the model; the number of sequences.

    Each key's events come after it. What was pressed before, since the sequence began, is part of
    the message.
    """
    started = 0
    pressed: list[str] = []
    steps: list[tuple[dict[str, Any], list[tuple[str, ...]]]] = []
    for line in journal:
        if line["kind"] in ("key", "click", "begin"):
            steps.append((line, []))
        else:
            event = [line["kind"], line["image"], *([line["label"]] if "label" in line else [])]
            steps[-1][1].append(tuple(event))
    for line, events in steps:
        if line["kind"] == "begin":
            started += 1
            pressed = []
            continue
        key = line["key"] if line["kind"] == "key" else f"click {line['key']}"
        pressed.append(key)
        expected = meaning.press(key, line["stage"])
        assert events == expected, f"{meaning.tab}: {pressed} on {line['stage']}"
    return started


STAGED = [*KEYS, *ANSWERS, *LABEL_CLICKS, *FORM_CLICKS]
SYMBOLS = {
    "Queue": [*STAGED, "ArrowLeft", "ArrowRight"],
    "Review": STAGED,
    "Gallery": [*KEYS, *ANSWERS, *FORM_CLICKS],
    "Relabel": [*KEYS, *LABEL_CLICKS[:2], "click Exclude"],
}
# Where the focus is, after it was on the elements before.
STARTS = {
    "Queue, stage": ["#queue-stage .region"],
    "Queue, tab": ["[role=tab][aria-selected=true]"],
    "Queue, button": ["#queue-stage .reveal"],
    "Review, stage": ["#review-preview .region"],
    "Review, slider": ["#review-threshold input[type=range]"],
    "Gallery, card": ["#grid .card"],
    "Gallery, chip": ["#grid .card", "#gallery-tools .chip"],
    "Relabel, item": ["#relabel .card"],
}
REVEALING = [" ", "Enter"]  # what they do on the button that reveals
CORE = {
    "Queue": CORE_KEYS,
    "Review": [*CORE_KEYS, *ANSWERS, "click NSFW", "click Unsure", *FORM_CLICKS],
    "Gallery": [*CORE_KEYS, "1", *ANSWERS, *FORM_CLICKS],
    "Relabel": [*CORE_KEYS, "1", "click NSFW", "click Exclude"],
}
RUNS = [
    ("Queue, stage", SYMBOLS, range(1, 3)),
    ("Queue, stage", CORE, range(3, 4)),  # the shorter ones are among all
    *((start, CORE, range(1, 3)) for start in ("Review, stage", "Gallery, card", "Relabel, item")),
    *(pytest.param(start, SYMBOLS, range(1, 4), marks=pytest.mark.exhaustive) for start in STARTS),
]
GRIDS = {"Gallery": "#grid", "Relabel": "#relabel"}
NAMES = [f"{label} {number}.png" for number in range(4) for label in OPPOSITE]


def show_images(page: Page, tab: str) -> None:
    """Open a tab and wait for its images."""
    if tab == "Relabel":
        for name in NAMES:
            page.evaluate("name => desk.settle(name)", name)
    open_tab(page, tab)
    if tab == "Queue":
        expect(page.locator("#queue-stage figcaption")).to_be_visible()
    elif tab == "Review":
        page.evaluate("desk.fill('#image-input', 'nsfw first.png')")
        expect(page.locator("#agree")).to_be_enabled()
    elif tab == "Gallery":
        expect(page.locator("#gallery-upload input[type=file]")).to_be_enabled()
        page.evaluate(f"desk.fill('#gallery-upload', ...{NAMES})")
        expect(page.locator("#grid .card")).to_have_count(len(NAMES))
    else:
        expect(page.locator("#relabel .card")).to_have_count(len(NAMES))


@pytest.mark.slow
@pytest.mark.parametrize(("start", "choice", "sizes"), RUNS)
def test_each_key_records_what_it_means(
    scripted: Page, start: str, choice: dict[str, list[str]], sizes: range
) -> None:
    """No sequence of keys and clicks records what its last key does not mean."""
    tab = start.split(",")[0]
    symbols = choice[tab]
    if start == "Queue, button":
        symbols = [symbol for symbol in symbols if symbol not in REVEALING]
    driver = Driver(scripted, scripted.context.new_cdp_session(scripted))
    show_images(scripted, tab)
    driver.evaluate(f"desk.watch({tab!r})")
    names = scripted.locator(f"{GRIDS[tab]} .card .name").all() if tab in GRIDS else []
    meaning = Meaning(tab, names[-1].get_attribute("title") if names else None)
    count = 0
    for number, keys in enumerate(sequences(symbols, sizes)):
        driver.evaluate(f"desk.begin(...{STARTS[start]!r})")
        for key in [*keys, *closing(keys)]:
            driver.press(key)
        if number % 100 == 0:
            count += check(driver.evaluate("desk.read()"), meaning)
    count += check(driver.evaluate("desk.read()"), meaning)
    assert count == sum(len(symbols) ** size for size in sizes)
