"""Decodes images in base64, alone or in a data URL (RFC 2397).

- White space anywhere, the URL-safe alphabet, missing padding, and parameters in a data URL are
  accepted, as by the APIs that this one is compatible with.
- Anything else is rejected with its position: skipping it would change the decoded
  image.
"""

import binascii
import io
import re

from nsfw_app.errors import RequestError

SCHEME = re.compile(r"\s*data:", re.IGNORECASE)
# A comma in a quoted value, as in name="a,b.jpg", does not end the parameters. No backtracking.
PARAMETERS = re.compile(r"""((?>"(?:[^"\\]|\\.)*+"|[^,])*+),""", re.DOTALL)
MAX_PARAMETER_CHARACTERS = 1_000
BASE64_MARK = re.compile(r".*;\s*base64\s*", re.IGNORECASE | re.DOTALL)
WHITE_SPACE = b" \t\n\f\r"  # ASCII white space of the WHATWG's forgiving base64
FROM_URL_SAFE = bytes.maketrans(b"-_", b"+/")  # RFC 4648, section 5
FOREIGN = re.compile(r"[^A-Za-z0-9+/_= \t\n\f\r-]")
CHUNK = 1 << 20  # characters decoded in one call, about 1 ms, so that other threads run in between
EXAMPLE = "data:image/png;base64,..."


def is_data_url(text: str) -> bool:
    """Whether a text is a data URL, well-formed or not."""
    return text[:100].lstrip().lower().startswith("data:")


def is_url(text: str) -> bool:
    """Whether a text is an http or https URL."""
    return text[:100].lstrip().lower().startswith(("http://", "https://"))


def decode_data_url(url: str, *, name: str) -> bytes:
    """Decode a data URL. Its media type is ignored: the content decides the format.

    Args:
        url: `data:[media type][;parameter=value...];base64,...`
        name: Name of the image in error messages.

    Raises:
        RequestError: It is not a data URL in base64, or the base64 is invalid.
    """
    scheme = SCHEME.match(url)
    start = scheme.end() if scheme else len(url)
    prefix = PARAMETERS.match(url, start, start + MAX_PARAMETER_CHARACTERS + 1)
    if prefix is None:
        raise RequestError(f"{name} is a data URL without a comma. Send {EXAMPLE}")
    if not BASE64_MARK.fullmatch(prefix[1]):
        raise RequestError(f"{name} is a data URL that is not in base64. Send {EXAMPLE}")
    return decode_base64(url, name=name, start=prefix.end())


def decode_base64(text: str, *, name: str, start: int = 0) -> bytes:
    """Decode base64. Needs memory for the result and one chunk only.

    Args:
        text: Base64 in the standard or URL-safe alphabet, with complete padding or none.
        name: Name of the text in error messages.
        start: Index of the first character of the base64.

    Raises:
        RequestError: A character, the padding or the length is wrong.
    """
    try:
        return _decoded(text, start)
    except binascii.Error:
        raise RequestError(f"{name} is not base64: {_fault(text, start)}.") from None


def _decoded(text: str, start: int) -> bytes:
    decoded, rest, padding = io.BytesIO(), b"", 0
    for position in range(start, len(text), CHUNK):
        chunk = text[position : position + CHUNK].encode("ascii", "replace")
        padded = chunk.translate(FROM_URL_SAFE, WHITE_SPACE)
        digits = padded.rstrip(b"=")
        if padding and digits:
            raise binascii.Error("There is data after the padding.")
        padding += len(padded) - len(digits)
        rest += digits
        complete = len(rest) - len(rest) % 4
        decoded.write(binascii.a2b_base64(rest[:complete], strict_mode=True))
        rest = rest[complete:]
    missing = -len(rest) % 4
    if padding not in {0, missing}:
        raise binascii.Error("The padding has the wrong length.")
    decoded.write(binascii.a2b_base64(rest + b"=" * missing, strict_mode=True))
    return decoded.getvalue()


def _fault(text: str, start: int) -> str:
    """Describe the first fault of a text that cannot be decoded."""
    if foreign := FOREIGN.search(text, start):
        return f"character {foreign.start() - start + 1} is {foreign[0]!r}"
    return "its length or its padding '=' is wrong; it may have been cut short"
