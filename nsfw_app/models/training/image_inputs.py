"""Files of a training set as inputs of a model, decoded in threads and in order.

An image with missing pixels is refused: a model would learn from gray areas.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nsfw_app.concurrency import map_ordered
from nsfw_app.errors import ImageError, ImageErrorKind
from nsfw_app.imaging import decode
from nsfw_app.models.calibration_set import LIMITS
from nsfw_app.models.classifier import Backend, Pixels


@dataclass(frozen=True, slots=True)
class ImageInput:
    """A file's hash and the model's input; instead of the input None if known, or the problem."""

    path: Path
    sha256: str
    pixels: Pixels | None
    problem: ImageError | None = None


def read_inputs(
    paths: Sequence[Path],
    backend: Backend,
    *,
    threads: int,
    is_known: Callable[[str], bool] = lambda _: False,
) -> Iterator[ImageInput]:
    """The inputs of files, in their order.

    Args:
        paths: The files.
        backend: Prepares the images.
        threads: How many are decoded at once.
        is_known: Whether the input for a hash is not needed, so that it is not decoded.
    """

    def read(path: Path) -> ImageInput:
        sha256 = ""
        try:
            data = decode.read_file(path, LIMITS)
            sha256 = decode.sha256(data)
            if is_known(sha256):
                return ImageInput(path, sha256, None)
            decoded = decode.decode(data, name=path.name, limits=LIMITS, sha256=sha256)
            if decoded.info.incomplete:
                return ImageInput(path, sha256, None, _incomplete(path))
            return ImageInput(path, sha256, backend.prepare(decoded.frames[0].image))
        except ImageError as error:
            return ImageInput(path, sha256, None, error)

    yield from map_ordered(read, paths, concurrency=threads)


def _incomplete(path: Path) -> ImageError:
    return ImageError(ImageErrorKind.TRUNCATED, f"{path.name} is damaged: pixels are missing.")
