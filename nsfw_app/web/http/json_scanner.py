"""Scans JSON bodies while they arrive, and rejects those that would be expensive to parse.

A small body can cost a parser seconds and gigabytes: millions of empty elements, thousands of
levels, integers of thousands of digits, or one emoji that makes a long string four times as wide
in memory. The scanners read slices of bytes, and reject a body as soon as it passes a limit.

    JsonCounter    counts only; another parser reads the bytes
    JsonSplitter   also separates long strings from a short outline, and parses the outline only
"""

import json
import math
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import pydantic_core

from nsfw_app.errors import NotJson, RequestError, RequestTooLarge

LONG_BYTES = 8_192  # longer strings are kept out of the outline
OUTLINE_BYTES = 262_144  # everything but long strings; 64 images need about 10 kB
BETWEEN = re.compile(rb'[^"]*')
TEXT = re.compile(rb'(?:[^"\\]++|\\[^u]|\\u[0-9a-fA-F]{4})*+', re.DOTALL)  # RFC 8259, section 7
HUGE = re.compile(rb"\d[eE]\+?\d{3}")  # may be a number that is infinite as a float
MAX_NUMBER_CHARACTERS = 40  # a double has up to 24; reading an integer is quadratic in its digits
NUMBER_END = re.compile(rb"[-+.0-9eE]*\Z")
LONG_NUMBER = re.compile(rb"(?<![-+.0-9eE])[-+.0-9eE]{%d}" % (MAX_NUMBER_CHARACTERS + 1))
BRACKET = re.compile(rb"[\[\]{}]")
ESCAPE_BYTES = 6  # of the longest escape, \u0000


@dataclass(frozen=True, slots=True)
class JsonLimits:
    """Limits of a JSON body.

    Attributes:
        max_parts: Opening brackets, commas, colons and strings together.
        max_depth: Brackets that are open at once.
        max_text_bytes: Bytes of one long string.
    """

    max_parts: int
    max_depth: int = 16
    max_text_bytes: int = 0


class Piece(NamedTuple):
    """Bytes in a string or between two strings; `ends` if a quotation mark follows."""

    data: bytes
    in_text: bool
    ends: bool


class JsonCounter:
    """Checks the limits of one JSON document, in slices of any size."""

    def __init__(self, limits: JsonLimits) -> None:
        self._limits = limits
        self._parts = 0
        self._depth = 0
        self._in_text = False
        self._number = b""  # an incomplete number at the end of the last slice
        self._rest = b""  # an incomplete escape sequence at the end of the last slice

    def feed(self, data: bytes) -> None:
        """Check the next bytes; see `scan`."""
        for _ in self.scan(data):
            pass

    def scan(self, data: bytes) -> Iterator[Piece]:
        """Check the next bytes and split them into pieces.

        Raises:
            RequestTooLarge: There are more parts or levels than allowed.
            RequestError: A number is too long.
            NotJson: The bytes are not JSON in UTF-8.
        """
        if b"\0" in data:  # as in UTF-16, which another parser might accept
            raise NotJson("The body is not JSON in UTF-8.")
        data, self._rest, position = self._rest + data, b"", 0
        while position < len(data):
            in_text = self._in_text
            match = (TEXT if in_text else BETWEEN).match(data, position)
            end = match.end() if match else position
            ends = data[end : end + 1] == b'"'
            if not in_text:
                self._count(data[position:end], texts=ends)
            elif not ends and end < len(data):
                if len(data) - end >= ESCAPE_BYTES:
                    raise NotJson("The body is not JSON: a string has an unknown escape sequence.")
                self._rest = data[end:]
            yield Piece(data[position:end], in_text, ends)
            if self._rest:
                return
            self._in_text ^= ends
            position = end + 1

    def _count(self, between: bytes, *, texts: int) -> None:
        tokens = self._number + between
        if LONG_NUMBER.search(tokens):
            raise RequestError(
                f"A number in the JSON has more than {MAX_NUMBER_CHARACTERS} characters."
            )
        end = NUMBER_END.search(tokens, max(0, len(tokens) - MAX_NUMBER_CHARACTERS))
        self._number = end[0] if end and not texts else b""
        self._parts += texts + between.count(b",") + between.count(b":")
        for bracket in BRACKET.findall(between):
            if bracket in b"[{":
                self._parts += 1
                self._depth += 1
            else:
                self._depth -= 1
            if self._depth < 0:
                raise NotJson("The body is not JSON: a bracket is closed that was not opened.")
            if self._depth > self._limits.max_depth:
                raise RequestTooLarge(
                    f"The JSON is nested more deeply than the limit of {self._limits.max_depth}."
                )
        if self._parts > self._limits.max_parts:
            raise RequestTooLarge(
                f"The JSON has more than the limit of {self._limits.max_parts} brackets, commas, "
                "colons and strings."
            )


class JsonSplitter:
    """Parses one JSON document in slices, with long strings kept out of the parser.

    - Long strings must be ASCII, as base64 is, and exist in memory once.
    - Everything else is the outline, in which each long string is replaced by a reference.
    """

    def __init__(self, limits: JsonLimits) -> None:
        self._limits = limits
        self._counter = JsonCounter(limits)
        self._reference = secrets.token_hex(8)  # unguessable, so that no string equals one
        self._outline = bytearray()
        self._long_texts: dict[str, str] = {}
        self._text = bytearray()
        self._is_long = False

    def feed(self, data: bytes) -> None:
        """Add the next bytes.

        Raises:
            RequestTooLarge: A limit is passed.
            NotJson: It is not JSON.
            RequestError: A long string is not ASCII.
        """
        for piece in self._counter.scan(data):
            if piece.in_text:
                self._extend_text(piece.data)
                if piece.ends:
                    self._end_text()
            else:
                self._outline += piece.data
            if piece.ends:
                self._outline += b'"'
        if len(self._outline) > OUTLINE_BYTES:
            raise RequestTooLarge(
                f"Without its images, the request has more than {OUTLINE_BYTES / 1e3:g} kB."
            )

    @property
    def is_empty(self) -> bool:
        """Whether no bytes were added."""
        return not self._outline

    def value(self) -> Any:
        """The value, after all bytes were added.

        Raises:
            NotJson: They are not JSON.
        """
        return self._restored(parse(self._outline))

    def _extend_text(self, data: bytes) -> None:
        self._text += _unescaped(data) if self._is_long else data
        if not self._is_long and len(self._text) > LONG_BYTES:
            self._is_long = True
            self._text = bytearray(_unescaped(bytes(self._text)))
        if self._is_long and len(self._text) > self._limits.max_text_bytes:
            raise RequestTooLarge(
                f"A string in the request has more than {self._limits.max_text_bytes / 1e6:.3g} "
                "MB, which an image of the largest size does not need."
            )

    def _end_text(self) -> None:
        if self._is_long:
            reference = f"{self._reference}-{len(self._long_texts)}"
            self._long_texts[reference] = self._text.decode("ascii")
            self._outline += reference.encode()
        else:
            self._outline += self._text
        self._text, self._is_long = bytearray(), False

    def _restored(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._long_texts.pop(value, value)
        if isinstance(value, list):
            return [self._restored(part) for part in value]
        if isinstance(value, dict):
            return {key: self._restored(part) for key, part in value.items()}
        return value


def parse(data: bytes | bytearray) -> Any:
    """Parse JSON strictly by RFC 8259: no NaN, unpaired surrogates or invalid UTF-8.

    Raises:
        NotJson: It is not JSON.
        RequestError: A number is not finite.
    """
    try:
        value = pydantic_core.from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise NotJson(f"The body is not valid JSON: {error}.") from None
    if HUGE.search(data) and not _is_finite(value):
        raise RequestError("The body has a number that is too large.")
    return value


def _is_finite(value: Any) -> bool:
    if isinstance(value, dict | list):
        return all(map(_is_finite, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, float) or math.isfinite(value)


def _unescaped(data: bytes) -> bytes:
    """Resolve the escape sequences in part of a string, each of which is complete."""
    try:
        if b"\\" in data:
            data = json.loads(b'"' + data + b'"', strict=False).encode("ascii")
    except ValueError:
        data = b"\xff"
    if not data.isascii():
        raise RequestError(
            f"A string of more than {LONG_BYTES} bytes has characters outside ASCII, which base64 "
            "does not have."
        )
    return data
