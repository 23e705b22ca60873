"""For any bytes, `decode` returns a sound image or raises an `ImageError`.

The bytes are real files of every format, damaged: bits flipped, pieces lost, inserted, doubled
or taken from a file of another format. The examples are the same on every run.
"""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nsfw_app.errors import ImageError, ImageErrorKind
from nsfw_app.imaging.decode import Limits, decode
from nsfw_app.imaging.image_warnings import extension_warning
from tests.support.fakes import LIMITS
from tests.support.image_files import FILES

SMALL = Limits(LIMITS.max_bytes, max_pixels=250_000, max_frames=4)
SIGNATURES = [
    b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01",
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    b"RIFF\x20\0\0\0WEBPVP8X",
    b"GIF89a",
    b"BM",
    b"\x28\0\0\0",
    b"II*\0\x08\0\0\0",
    b"MM\0*\0\0\0\x08",
    b"\0\0\0\x20ftypavif",
    b"\0\0\0\x20ftypheic",
]
INTERESTING = [
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\0" * 8,
]
ROOT = Path(__file__).parents[2]
DECODE = """
import sys
from nsfw_app.errors import ImageError
from nsfw_app.imaging.decode import Limits, decode
try:
    decode(sys.stdin.buffer.read(), name="image", limits=Limits(10**7, 10**6, 4))
except ImageError:
    pass
"""
FEW = settings(max_examples=150, deadline=None, derandomize=True, database=None)
MANY = settings(FEW, max_examples=1000)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of damaged metadata


@st.composite
def damaged(draw: st.DrawFn, original: bytes) -> bytes:
    """The file with one to four faults, most of them in its headers."""
    data = original
    for _ in range(draw(st.integers(1, 4))):
        reach = draw(st.sampled_from([64, 512, len(data)]))
        start = draw(st.integers(0, max(0, min(reach, len(data)) - 1)))
        end = min(len(data), start + draw(st.integers(1, 40)))
        match draw(st.sampled_from(["flip", "write", "lose", "insert", "double", "cut", "swap"])):
            case "flip":
                flipped = bytes(
                    byte ^ (1 << draw(st.integers(0, 7))) for byte in data[start:end][:3]
                )
                data = data[:start] + flipped + data[start + len(flipped) :]
            case "write":
                piece = draw(st.sampled_from(INTERESTING) | st.binary(min_size=1, max_size=4))
                data = data[:start] + piece + data[start + len(piece) :]
            case "lose":
                data = data[:start] + data[end:]
            case "insert":
                data = data[:start] + draw(st.binary(min_size=1, max_size=16)) + data[start:]
            case "double":
                data = data[:end] + data[start:]
            case "cut":
                data = data[: max(end, len(data) - draw(st.integers(1, 2000)))]
            case "swap":
                other = FILES[draw(st.sampled_from(sorted(FILES)))]
                taken = draw(st.integers(0, len(other)))
                size = draw(st.integers(1, 300))
                data = data[:start] + other[taken : taken + size] + data[start + size :]
    return data


def outcome(data: bytes, name: str = "image") -> str:
    """`decoded` or `refused`; any other exception or an unsound result fails."""
    try:
        image = decode(data, name=name, limits=SMALL)
    except ImageError as error:
        return sound_refusal(error)
    assert 1 <= len(image.frames) <= SMALL.max_frames
    assert {frame.image.mode for frame in image.frames} == {"RGB"}
    pixels = [frame.image.width * frame.image.height for frame in image.frames]
    assert min(pixels) > 0
    assert sum(pixels) <= SMALL.max_pixels
    assert all(frame.image.info == {} for frame in image.frames)
    return "decoded"


def sound_refusal(error: ImageError) -> str:
    """`refused`, when the error has one of the kinds and a sentence."""
    assert error.kind in set(ImageErrorKind)
    assert str(error).endswith(".")
    return "refused"


@pytest.mark.parametrize("kind", FILES)
def test_damaged_files_are_decoded_or_refused(kind: str) -> None:
    """150 damaged files of every format give an image or an `ImageError`; both occur."""
    outcomes = set()

    @FEW
    @given(damaged(FILES[kind]))
    def attempt(data: bytes) -> None:
        outcomes.add(outcome(data))

    attempt()
    assert outcomes == {"decoded", "refused"}


@MANY
@given(st.binary(max_size=400), st.text(max_size=20))
@example(b"", "")
def test_arbitrary_bytes_are_refused(data: bytes, name: str) -> None:
    """Bytes that were never an image raise an `ImageError` under any name."""
    assert outcome(data, name) == "refused"


@MANY
@given(st.sampled_from(SIGNATURES), st.binary(max_size=400))
def test_arbitrary_bytes_after_a_signature_are_decoded_or_refused(
    start: bytes, data: bytes
) -> None:
    """Noise with the signature of a format raises no other error."""
    assert outcome(start + data) in {"decoded", "refused"}


@FEW
@given(st.text(max_size=40), st.sampled_from(["JPEG", "PNG", "HEIF", ""]))
@example("\0", "PNG")
@example("\ud800.\udfff", "PNG")
@example("http://[.jpg", "PNG")
@example("data:,.jpg", "PNG")
@example("/", "PNG")
def test_any_name_has_a_warning_or_none(name: str, image_format: str) -> None:
    """Names are untrusted: each gives a warning with a sentence, or none, and never an error."""
    warning = extension_warning(name, image_format)
    assert warning is None or warning.message.endswith(".")


def test_a_heic_with_a_name_that_is_no_text_does_not_end_the_process() -> None:
    """An item type that is not UTF-8 is at most an `ImageError` and never ends the server."""
    data = FILES["heic"].replace(b"Exif", b"\xffxif", 1)
    assert data != FILES["heic"]
    result = subprocess.run([sys.executable, "-c", DECODE], input=data, cwd=ROOT, check=False)
    assert result.returncode == 0
