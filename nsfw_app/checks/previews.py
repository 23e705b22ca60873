"""Compares preview files with the images that the database says have one."""

from collections.abc import Iterator
from enum import Enum, auto
from io import BytesIO

from PIL import Image

from nsfw_app.checks.finding import Finding, fault, warning
from nsfw_app.errors import NotFound
from nsfw_app.store import Store

NAME = "previews"
JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"


class Depth(Enum):
    """How a preview is examined."""

    ENDS = auto()  # its first and last bytes, which a file that was cut short lacks
    PIXELS = auto()  # it is decoded


def check_previews(store: Store, *, depth: Depth) -> Iterator[Finding]:
    """Findings about missing, surplus and damaged previews.

    An upload or a purge may be under way: what differs at first is compared again.

    Args:
        store: The store.
        depth: How each preview is examined.

    Raises:
        StorageError: Database or files cannot be read.
    """
    named, files = set(store.preview_rows.named()), set(store.previews.all())
    again, waiting = set(store.preview_rows.named()), set(store.preview_rows.waiting())
    missing = {image for image in named - files if not store.previews.has(image)} & again
    for image in sorted(missing & waiting):
        yield fault(
            NAME,
            f"The preview of {image}, which waits in the queue, is missing. The next purge "
            "withdraws it from the queue; upload the image again.",
        )
    if others := len(missing - waiting):
        yield warning(NAME, f"{others} previews of images that do not wait are missing.")
    if surplus := sum(store.previews.has(image) for image in files - named - again):
        yield warning(
            NAME, f"{surplus} previews belong to no image that needs one; a purge deletes them."
        )
    for image in sorted(files & again):
        if not _is_sound(store, image, depth):
            yield fault(
                NAME,
                f"The preview of {image} is damaged. Delete it with `purge --image {image}`, and "
                "upload the image again.",
            )


def _is_sound(store: Store, image_sha256: str, depth: Depth) -> bool:
    try:
        if store.previews.ends(image_sha256, len(JPEG_END)) != (JPEG_START, JPEG_END):
            return False
        data = store.previews.get(image_sha256) if depth is Depth.PIXELS else None
    except NotFound:
        return True  # purged since
    try:
        if data is not None:
            with Image.open(BytesIO(data), formats=["JPEG"]) as image:
                image.load()
    except (OSError, ValueError, SyntaxError):  # what Pillow raises for damaged files
        return False
    return True
