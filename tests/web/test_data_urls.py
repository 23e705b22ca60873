"""Base64 and data URLs: accepted variants, and messages for invalid ones."""

import base64
import re
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nsfw_app.errors import RequestError
from nsfw_app.web.http import data_urls
from nsfw_app.web.http.data_urls import decode_base64, decode_data_url

SPELLINGS: dict[str, Callable[[bytes], str]] = {
    "standard": lambda data: base64.b64encode(data).decode(),
    "url-safe": lambda data: base64.urlsafe_b64encode(data).decode(),
    "unpadded": lambda data: base64.b64encode(data).decode().rstrip("="),
    "lines": lambda data: base64.encodebytes(data).decode().replace("\n", "\r\n"),
    "spaced": lambda data: "\t ".join(f" {base64.b64encode(data).decode()}\f"),
}
steadily = settings(deadline=None, derandomize=True, database=None)
PREFIXES = """data:image/png;base64, DATA:IMAGE/PNG;BASE64, data:image/png;charset=utf-8;base64,
data:image/png;name="a.png";base64, data:image/png;name="a,b.jpg";base64,
data:image/png;name="a\\",b;base64,.jpg";base64, data:image/png;name="a;base64,
data:;base64, data:text/plain;base64,""".split()


@pytest.mark.parametrize("spelling", SPELLINGS)
@steadily
@given(data=st.binary(max_size=40), chunk=st.integers(1, 9))
def test_every_variant_decodes_to_the_same_bytes(spelling: str, data: bytes, chunk: int) -> None:
    """White space, both alphabets and missing padding decode alike, wherever a chunk ends."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data_urls, "CHUNK", chunk)
        assert decode_base64(SPELLINGS[spelling](data), name="x") == data


@steadily
@example(text="AAAA@@@@", chunk=9)
@example(text="AA==AAAA", chunk=4)
@given(text=st.text(alphabet="AQ/+-_= \n@é\ud800", max_size=12), chunk=st.integers(1, 5))
def test_accepted_texts_equal_a_strict_decoder(text: str, chunk: int) -> None:
    """Nothing is skipped or guessed: other texts are rejected, with any chunk size."""
    plain = re.sub(r"[ \n]", "", text).replace("-", "+").replace("_", "/")
    digits = plain.rstrip("=")
    padded = digits + "=" * (-len(digits) % 4)
    sound = plain in {digits, padded} and re.fullmatch(r"[AQ/+]*", digits) and len(digits) % 4 != 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data_urls, "CHUNK", chunk)
        if sound:
            assert decode_base64(text, name="x") == base64.b64decode(padded, validate=True)
        else:
            with pytest.raises(RequestError, match="x is not base64"):
                decode_base64(text, name="x")


@pytest.mark.parametrize("prefix", PREFIXES)
def test_data_urls_with_any_parameters(prefix: str) -> None:
    """Parameters, upper case, and a missing or wrong media type are accepted."""
    assert decode_data_url(f"{prefix}aGVsbG8=", name="x") == b"hello"
    assert decode_data_url(f" \n{prefix}\r\naGVs bG8", name="x") == b"hello"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("data:image/png", "without a comma"),
        ("data:image/png,%89PNG", "not in base64"),
        ("data:image/png;base64x,aGVsbG8=", "not in base64"),
        ("data:image/png;base64;charset=utf-8,aGVsbG8=", "not in base64"),
        ("data:" + "a" * 2_000 + ";base64,aGVsbG8=", "without a comma"),
        ("data:" + '"' * 1_500 + ";base64,aGVsbG8=", "without a comma"),
        ('data:image/png;name="a,b;base64', "not in base64"),
        ("data:image/png;base64,aGVs@G8=", "character 5 is '@'"),
        ("data:image/png;base64,aGVs%3D", "character 5 is '%'"),
        ("data:image/png;base64,aGV\u00e9", "character 4 is 'é'"),
        ("data:image/png;base64,aGV\ud800", r"character 4 is '\ud800'"),
        ("data:image/png;base64,aGVsb", "cut short"),
        ("data:image/png;base64,aGVsbG8==", "padding"),
        ("data:image/png;base64,aGVs=bG8=", "padding"),
    ],
)
def test_an_invalid_data_url_is_described(url: str, message: str) -> None:
    """The message has the image and the fault."""
    with pytest.raises(RequestError, match=r"^Image 1 is ") as refused:
        decode_data_url(url, name="Image 1")
    assert message in str(refused.value)


def test_decoding_needs_memory_for_the_result_only() -> None:
    """No second copy of a large text is made, in any variant."""
    data = bytes(12_000_000)
    for spelling in SPELLINGS.values():
        text = spelling(data)
        tracemalloc.start()
        decoded = decode_base64(text, name="x")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert decoded == data
        assert peak < 1.6 * len(data)
