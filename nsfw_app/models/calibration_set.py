"""Images to calibrate and verify optimized models with: the calibration set, or a folder's images.

The calibration set lies in `calibration/`: 48 photographs and 16 drawings or renderings of ordinary
subjects, the same for everyone, with their sources in `calibration/LICENSES.md`. Nothing explicit
is among them. They are 64 images; `bundled_views` gives six views of each, not 384 images.
"""

from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from nsfw_app.errors import ImageError, SettingsError
from nsfw_app.imaging import decode
from nsfw_app.imaging.decode import SUFFIXES, Limits

CALIBRATION_SET = Path(__file__).parent / "calibration"
LIMITS = Limits(max_bytes=200_000_000, max_pixels=89_478_485, max_frames=1)
MOST = 300  # of a folder: enough for ranges and for a share of 0.5 %
LONGEST = 1_024  # pixels; more than any network looks at


def bundled_views() -> list[Image.Image]:
    """Six views of each image of the calibration set: whole, mirrored, and its quarters."""
    return [view for image in bundled() for view in _views(image)]


def bundled() -> list[Image.Image]:
    """The 64 images of the calibration set, photographs first."""
    return [_opened(path) for path in sorted(CALIBRATION_SET.glob("*.jpg"))]


def load_dir(folder: Path) -> list[Image.Image]:
    """The images below a folder, at most `MOST` of them, evenly spread over their names.

    Raises:
        SettingsError: There is none that can be read.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    step = max(1, len(paths) / MOST)
    chosen = [paths[int(i * step)] for i in range(min(len(paths), MOST))]
    found = list(_readable(chosen))
    if not found:
        raise SettingsError(f"{folder} holds no image that can be read.")
    return found


def _readable(paths: list[Path]) -> Iterator[Image.Image]:
    for path in paths:
        try:
            yield _opened(path)
        except ImageError:
            continue  # a damaged file says nothing about a network


def _opened(path: Path) -> Image.Image:
    data = decode.read_file(path, LIMITS)
    image = decode.decode(data, name=path.name, limits=LIMITS).frames[0].image
    image.thumbnail((LONGEST, LONGEST))
    return image


def _views(image: Image.Image) -> Iterator[Image.Image]:
    """An image, its mirror image, and its quarters."""
    yield image
    yield image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    middle, height = image.width // 2, image.height // 2
    for left in (0, middle):
        for top in (0, height):
            yield image.crop((left, top, left + middle, top + height))
