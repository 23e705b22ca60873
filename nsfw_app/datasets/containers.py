"""Containers: single files that hold many images, known by their names."""

import re
from enum import StrEnum
from pathlib import PurePosixPath

from nsfw_app.datasets.entries import Entry
from nsfw_app.datasets.file_search import is_image_name
from nsfw_app.datasets.left_out import LeftOut, LeftOutFiles
from nsfw_app.datasets.locations import ARCHIVES, CHAIN, name_of, scheme


class ContainerKind(StrEnum):
    """What a container is."""

    ZIP = "zip"
    TAR = "tar"
    PARQUET = "parquet"
    ARROW = "arrow"
    PATHS = "paths"  # a table of paths


SUFFIXES = {
    ".zip": ContainerKind.ZIP,
    ".tar": ContainerKind.TAR,
    ".tar.gz": ContainerKind.TAR,
    ".tgz": ContainerKind.TAR,
    ".tar.bz2": ContainerKind.TAR,
    ".tbz2": ContainerKind.TAR,
    ".tar.xz": ContainerKind.TAR,
    ".txz": ContainerKind.TAR,
    ".tar.zst": ContainerKind.TAR,
    ".parquet": ContainerKind.PARQUET,
    ".arrow": ContainerKind.ARROW,
    ".csv": ContainerKind.PATHS,
    ".jsonl": ContainerKind.PATHS,
    ".ndjson": ContainerKind.PATHS,
}
# Found in directories: a table of paths there usually describes the images next to it.
IN_DIRECTORIES = frozenset(
    {ContainerKind.ZIP, ContainerKind.TAR, ContainerKind.PARQUET, ContainerKind.ARROW}
)
ROW = re.compile(r"\d+(\..+)?")  # its number, and the column where there are several
CACHE = re.compile(r"cache-[^/]*\.arrow")  # what `datasets` computed from a table next to it


def kind_of(location: str) -> ContainerKind | None:
    """The kind of a container by its name; None for other files."""
    suffixes = PurePosixPath(name_of(location).lower()).suffixes
    for count in (2, 1):
        if kind := SUFFIXES.get("".join(suffixes[-count:])):
            return kind
    return None


def is_member(location: str) -> bool:
    """Whether a location is the uri of an image in a container; see `Entry`."""
    if scheme(location) in ARCHIVES:
        return CHAIN in location
    table, mark, row = location.rpartition("#")
    return bool(mark and ROW.fullmatch(row)) and kind_of(table) in {
        ContainerKind.PARQUET,
        ContainerKind.ARROW,
    }


def is_in_directories(name: str) -> bool:
    """Whether a file in a directory is a source by its name: an image, or a container."""
    if CACHE.fullmatch(name):
        return False
    return kind_of(name) in IN_DIRECTORIES or is_image_name(name)


def is_image_member(name: str, uri: str, left_out: LeftOutFiles) -> bool:
    """Whether a member of an archive is an image by its name; counts it where it is none."""
    if any(part.startswith(".") and part.strip(".") for part in name.split("/")):
        left_out.add(LeftOut.HIDDEN, uri)
    elif kind_of(name) in IN_DIRECTORIES:
        left_out.add(LeftOut.NESTED, uri)
    elif not is_image_name(name):
        left_out.add(LeftOut.NAME, uri)
    else:
        return True
    return False


class MemberUris:
    """Names the members of an archive; a repeated name gets a number, the first that is free.

    No two members have the same uri, also where one is named like that of another with a number.
    Of each name a hash is kept in memory while the archive is listed.

    Args:
        container: The archive.
    """

    def __init__(self, container: Entry, chain: str) -> None:
        self._container = container.uri
        self._chain = chain
        self._seen: set[int] = set()
        self._repeated: dict[str, int] = {}

    def of(self, name: str) -> str:
        """The uri of the next member with this name."""
        name = name.encode(errors="surrogateescape").decode(errors="backslashreplace")
        free = name
        while hash(free) in self._seen:
            count = self._repeated[name] = self._repeated.get(name, 1) + 1
            free = f"{name}#{count}"
        self._seen.add(hash(free))
        return f"{self._chain}://{free}{CHAIN}{self._container}"
