"""The JSON scanner: the same values as `json` for any slices, and rejection over the limits."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsfw_app.errors import RequestError, RequestTooLarge
from nsfw_app.web.http.json_scanner import (
    LONG_BYTES,
    OUTLINE_BYTES,
    JsonCounter,
    JsonLimits,
    JsonSplitter,
    parse,
)

LIMITS = JsonLimits(max_parts=1_000, max_depth=8, max_text_bytes=100_000)
LONG = "A+/=" * LONG_BYTES
TEXTS = st.text(max_size=8) | st.sampled_from([LONG, '"\\/\n', "{[,:]}", "\U0001f600"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)


def value_of(data: bytes, *, size: int = 1_000_000, limits: JsonLimits = LIMITS) -> Any:
    """Parse a body in slices of a size."""
    splitter = JsonSplitter(limits)
    for start in range(0, len(data), size):
        splitter.feed(data[start : start + size])
    return splitter.value()


@given(value=VALUES, size=st.integers(1, 40), escapes=st.booleans(), ascii_only=st.booleans())
def test_any_slices_give_the_same_value(
    value: Any, size: int, escapes: bool, ascii_only: bool
) -> None:
    """Cut anywhere, also in a string or an escape, the value equals that of `json`."""
    data = json.dumps(value, ensure_ascii=ascii_only).encode()
    if escapes:  # as PHP and Gson write base64
        data = data.replace(b"+/=", b"+\\/\\u003d")
    big = JsonLimits(max_parts=10_000, max_depth=32, max_text_bytes=1_000_000)
    assert value_of(data, size=size * (len(data) // 200 + 1), limits=big) == value


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"[" + b"{}," * 1_000 + b"{}]", "limit of 1000 brackets, commas, colons and strings"),
        (b"[" + b'"",' * 1_000 + b'""]', "limit of 1000"),
        (b'""' * 1_001, "limit of 1000"),
        (b":" * 1_001, "limit of 1000"),
        (b"[" * 9, "limit of 8"),
        (b'{"a":' * 9, "limit of 8"),
        (b'["' + b"A" * 100_001 + b'"]', "0.1 MB"),
        (b'["' + b"A" * 200_000, "0.1 MB"),
        (b" " * (OUTLINE_BYTES + 1), "262.144 kB"),
    ],
)
def test_each_limit_is_checked_while_the_body_arrives(data: bytes, message: str) -> None:
    """Too many parts, levels or bytes are rejected with the limit before parsing."""
    splitter = JsonSplitter(LIMITS)
    with pytest.raises(RequestTooLarge, match=message):
        splitter.feed(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"]",
        b'["\\x"]',
        b'["\\u00g0"]',
        b"[1e999]",
        b"[NaN]",
        b'["\\ud800"]',
        b'["\\udc00\\ud800"]',
        b'["\xed\xa0\x80"]',
        b'["\xff"]',
        '{"a": "b"}'.encode("utf-16"),
        '{"a": "b"}'.encode("utf-32-be"),
        b'["' + b"A" * 20_000 + b'\\ud800"]',
        ('["' + "A" * 20_000 + '\U0001f600"]').encode(),
        b'["' + b"A" * 20_000 + b"\\x" + b"A" * 9 + b'"]',
        b'["' + b"A" * 20_000,
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1_000_000])
def test_invalid_json_is_rejected(data: bytes, size: int) -> None:
    """Invalid JSON, other encodings, unpaired surrogates, and long strings outside ASCII."""
    with pytest.raises(RequestError):
        value_of(data, size=size)


def test_a_string_is_not_mistaken_for_a_reference() -> None:
    """References to long strings cannot be guessed: similar strings are unchanged."""
    value = [LONG, "0", "-0", "0-0", "f" * 16 + "-0"]
    assert value_of(json.dumps(value).encode()) == value


@pytest.mark.parametrize("size", [1, 7, 39, 1_000_000])
@pytest.mark.parametrize("number", [b"9" * 41, b"-0." + b"1" * 38, b"1" * 40 + b"e1", b"0" * 4_290])
def test_a_long_number_is_rejected(number: bytes, size: int) -> None:
    """Long integers, which are slow to parse, are rejected wherever the body is cut."""
    for data in (b"[" + number + b"]", b'{"a": ' + number, number):
        with pytest.raises(RequestError, match="more than 40 characters"):
            value_of(data, size=size)


@pytest.mark.parametrize("size", [1, 7, 1_000_000])
def test_numbers_of_ordinary_length_are_read(size: int) -> None:
    """Adjacent numbers are not one long number, nor are digits in strings."""
    value = [*[-1.7976931348623157e308] * 9, "9" * 99, 12345678901234567890, *range(90), "1" * 9]
    for data in (json.dumps(value), json.dumps(value, separators=(",", ":"))):
        assert value_of(data.encode(), size=size) == value


def test_strings_do_not_count_as_structure() -> None:
    """Brackets and commas in strings are not counted, also in slices of one byte."""
    counter = JsonCounter(JsonLimits(max_parts=4, max_depth=1))
    for byte in b'["[[[[,,,,::::\\"]]]]", "\\\\"]':
        counter.feed(bytes([byte]))


def test_parsing_is_strict() -> None:
    """A surrogate pair is one character; infinite numbers are rejected."""
    assert parse(b'["\\ud83d\\ude00", 1e10]') == ["\U0001f600", 1e10]
    assert parse(b'"1e999"') == "1e999"
    for wrong in (b"Infinity", b'"\\udfff"', b"[1,]", b"\xef\xbb\xbf{}"):
        with pytest.raises(RequestError, match="not valid JSON"):
            parse(wrong)
