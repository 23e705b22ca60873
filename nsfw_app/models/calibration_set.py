"""Images to calibrate and compare optimized models with: the calibration set, or a directory's.

The calibration set lies in `calibration/`: 48 photographs and 16 drawings or renderings of ordinary
subjects, the same on every installation, with their sources in `calibration/LICENSES.md`. None is
explicit. It has 64 images; `bundled_views` returns six views of each, not 384 images.
"""

from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from nsfw_app.errors import ImageError, SettingsError
from nsfw_app.imaging import decode
from nsfw_app.imaging.decode import Limits
from nsfw_app.imaging.formats import SUFFIXES

CALIBRATION_SET = Path(__file__).parent / "calibration"
LIMITS = Limits(max_bytes=200_000_000, max_pixels=89_478_485, max_frames=1)
MAX_IMAGES = 300  # of a directory: enough for value ranges and for a share of 0.5 %
MAX_SIDE = 1_024  # pixels; more than any model takes


def bundled() -> list[Image.Image]:
    """The 64 images of the calibration set, photographs first."""
    return [_open(path) for path in sorted(CALIBRATION_SET.glob("*.jpg"))]


def bundled_views() -> list[Image.Image]:
    """Six views of each image of the calibration set: whole, mirrored, and its quarters."""
    return [view for image in bundled() for view in _views(image)]


def load_dir(directory: Path) -> list[Image.Image]:
    """The images below a directory, at most `MAX_IMAGES`, evenly spread over their sorted names.

    Files that cannot be decoded are skipped.

    Raises:
        SettingsError: No image can be read.
    """
    paths = sorted(path for path in directory.rglob("*") if path.suffix.lower() in SUFFIXES)
    step = max(1, len(paths) / MAX_IMAGES)
    chosen = [paths[int(i * step)] for i in range(min(len(paths), MAX_IMAGES))]
    images = list(_readable(chosen))
    if not images:
        raise SettingsError(f"{directory} holds no image that can be read.")
    return images


def _readable(paths: list[Path]) -> Iterator[Image.Image]:
    for path in paths:
        try:
            yield _open(path)
        except ImageError:
            continue


def _open(path: Path) -> Image.Image:
    data = decode.read_file(path, LIMITS)
    image = decode.decode(data, name=path.name, limits=LIMITS).frames[0].image
    image.thumbnail((MAX_SIDE, MAX_SIDE))
    return image


def _views(image: Image.Image) -> Iterator[Image.Image]:
    """An image, its mirror image, and its quarters."""
    yield image
    yield image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    middle, height = image.width // 2, image.height // 2
    for left in (0, middle):
        for top in (0, height):
            yield image.crop((left, top, left + middle, top + height))
