"""Images in containers that a list or table names one by one, as `filter` writes them.

- Neighbors of the same container are looked up together, in one listing of the container. They
  come in its order, because a compressed archive is read forward only; those that it lacks follow.
- An image that is named twice has two entries, as a file has.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from nsfw_app.dataset_errors import SourceError
from nsfw_app.datasets import files, tar_archives, zip_archives
from nsfw_app.datasets.containers import ContainerKind, is_member, kind_of
from nsfw_app.datasets.entries import Entry
from nsfw_app.datasets.left_out import LeftOutFiles
from nsfw_app.datasets.locations import ARCHIVES, CHAIN, escaped, name_of, redacted, scheme
from nsfw_app.errors import ImageError, ImageErrorKind
from nsfw_app.records import ImageProblem

MAX_NAMED = 100_000  # images that are looked up together, which are in memory


def container_of(location: str) -> str:
    """The location of the container in which an image is; empty where it is a file of its own."""
    if not is_member(location):
        return ""
    mark = CHAIN if scheme(location) in ARCHIVES else "#"
    before, _, after = location.rpartition(mark)
    return after if mark == CHAIN else before


def uri_of(location: str) -> str:
    """The uri of an image: its location without credentials, also in a container."""
    container = container_of(location)
    return _uri(location, container) if container else redacted(location)


def is_ambiguous(uri: str, name: str) -> bool:
    """Whether a uri does not say where the name of a member ends: its archive's path has `::`.

    Args:
        uri: Of an image in an archive, or any other one.
        name: Of the member.
    """
    kind = scheme(uri)
    _, _, archive = uri.removeprefix(f"{kind}://{name}").partition(CHAIN)
    return kind in ARCHIVES and CHAIN in archive


def found(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Entries, with those of images in containers looked up; see the module."""
    for container, run in itertools.groupby(entries, _container):
        if not container:
            yield from run
            continue
        while piece := [each.file for each in itertools.islice(run, MAX_NAMED)]:
            yield from _looked_up(piece, container)


def _container(entry: Entry) -> str:
    return "" if entry.member or entry.problem else container_of(entry.file)


def _looked_up(locations: Sequence[str], container: str) -> Iterator[Entry]:
    """The entries of images in one container.

    Args:
        locations: Their uris, or the same with credentials of the container.
        container: Location of the container.
    """
    wanted = Counter(_uri(location, container) for location in locations)
    problem = ImageProblem(
        ImageErrorKind.UNREADABLE, f"{name_of(container)} has no image of this name."
    )
    try:
        status = files.status(container)
        # A table of paths has no images of its own, and is left out where it was found.
        holder = Entry(
            redacted(container), container, "", status.size, status.version, is_found=True
        )
        for entry in listing(kind_of(container))(holder, LeftOutFiles()):
            for _ in range(wanted.pop(entry.uri, 0)):
                yield entry
            if not wanted:
                return
    except ImageError as error:
        problem = ImageProblem(error.kind, str(error))
    except SourceError as error:  # such as that of an unknown scheme
        problem = ImageProblem(ImageErrorKind.UNREADABLE, str(error))
    for uri, count in wanted.items():
        for _ in range(count):
            yield Entry(uri, container, problem=problem, is_lost=True)


def listing(kind: ContainerKind | None) -> Callable[[Entry, LeftOutFiles], Iterator[Entry]]:
    """What lists the images that a container of this kind holds; it raises `ImageError`."""
    if kind is ContainerKind.ZIP:
        return zip_archives.entries
    if kind is ContainerKind.TAR:
        return tar_archives.entries
    from nsfw_app.datasets import arrow_files, parquet_files  # with pyarrow

    return arrow_files.entries if kind is ContainerKind.ARROW else parquet_files.entries


def _uri(location: str, container: str) -> str:
    """The uri of an image: its location, with the container's uri in it."""
    shown = redacted(container)
    if location.endswith(f"{CHAIN}{container}"):
        return f"{escaped(location.removesuffix(container))}{shown}"
    return f"{shown}{escaped(location.removeprefix(container))}"
