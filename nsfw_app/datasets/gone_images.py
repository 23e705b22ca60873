"""Gone images: rows of earlier runs whose images the sources no longer have.

- They are all rows of the parts that are not of the sources: what is scanned again has lost its
  rows there; see `earlier_parts`.
- Footers are read; uris only of parts that are gone or have images of several sources.
"""

import logging
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from nsfw_app.dataset_errors import PartDamaged
from nsfw_app.datasets import patterns
from nsfw_app.datasets.part_files import PartFiles, read_footer, read_table

log = logging.getLogger(__name__)

MAX_NAMED = 3  # directories and sources in a sentence
WILDCARD = re.compile(r"[*?\[{]")


@dataclass(slots=True)
class GoneImages:
    """Counts of rows.

    Attributes:
        parts: Keys of the parts to delete.
        by_directory: Rows in them, by the directory or file below a source.
        by_source: The same by source.
        earlier: Rows that each source had, of those that lose some.
        unreadable: Rows that are kept, by container: it is there and cannot be read.
        damaged: Part files to delete whose rows cannot be read.
        unnamed: Sources of earlier runs that are not named any more; their images are gone.
    """

    parts: set[str] = field(default_factory=set)
    by_directory: Counter[str] = field(default_factory=Counter)
    by_source: Counter[str] = field(default_factory=Counter)
    earlier: Counter[str] = field(default_factory=Counter)
    unreadable: Counter[str] = field(default_factory=Counter)
    damaged: int = 0
    unnamed: Sequence[str] = ()

    @property
    def emptied(self) -> Sequence[str]:
        """Sources that lose more than half of their rows: a disk may not be mounted."""
        return [name for name, count in self.by_source.items() if 2 * count > self.earlier[name]]

    def sentences(self) -> Sequence[str]:
        """What is deleted and what is kept; empty if nothing is gone."""
        sentences = []
        if count := len(self.unnamed):
            are, more = "source is" if count == 1 else "sources are", count > MAX_NAMED
            named = ", ".join([*self.unnamed[:MAX_NAMED], *(["..."] if more else [])])
            sentences.append(f"{count:,} {are} not part of the scan any more: {named}.")
        if count := self.by_source.total():
            are, were = ("an image that is", "was") if count == 1 else ("images that are", "were")
            rows = "row" if count == 1 else "rows"
            sentences.append(
                f"{count:,} {rows} of {are} gone {were} deleted ({_counts(self.by_directory)})."
            )
        if count := self.unreadable.total():
            rows, are = ("row", "is") if count == 1 else ("rows", "are")
            sentences.append(
                f"{count:,} earlier {rows} of containers that cannot be read now {are} kept "
                f"({_counts(self.unreadable)})."
            )
        if count := self.damaged:
            files, were = ("file", "was") if count == 1 else ("files", "were")
            sentences.append(
                f"{count:,} damaged part {files} of images that no source has {were} deleted."
            )
        return sentences


def find_gone(
    files: PartFiles, keys: Collection[str], *, sources: Sequence[str], unopened: Collection[str]
) -> GoneImages:
    """The images that are gone.

    Args:
        files: Of a scan whose sources have been listed to the end.
        keys: All parts of the sources.
        sources: As the record names them.
        unopened: The uris of containers that cannot be read; the rows of their images are kept.

    Raises:
        ScanError: A part file cannot be read now, or one of the sources is damaged.
    """
    gone, lookup, kept_of = GoneImages(), _SourceLookup(sources), frozenset(unopened)
    for key in sorted(files.keys() - set(keys)):
        try:
            footer = read_footer(files.path(key))
            if footer.container in kept_of:
                gone.unreadable[footer.container] += footer.rows
                continue
            uris = read_table(files.path(key), ["uri"])["uri"].to_pylist()
        except PartDamaged as error:
            log.warning("%s", error)
            gone.damaged += 1
            uris = []
        gone.parts.add(key)
        for uri in uris:
            if uri == footer.container:  # the error of a container that can be read now
                continue
            place = footer.container or uri
            source = lookup.source(place)
            gone.by_source[source] += 1
            gone.by_directory[lookup.directory(place, source)] += 1
    if gone.by_source:
        gone.earlier = gone.by_source + _present(files, keys, lookup)
    return gone


def _present(files: PartFiles, keys: Iterable[str], lookup: "_SourceLookup") -> Counter[str]:
    """Rows of each source that are not gone."""
    counts: Counter[str] = Counter()
    for key in keys:
        footer = read_footer(files.path(key))
        found = {lookup.source(uri) for uri in (footer.container,) if uri} or {
            lookup.source(uri) for uri in footer.uris
        }
        if len(found) == 1:
            counts[found.pop()] += footer.rows
        else:
            uris = read_table(files.path(key), ["uri"])["uri"].to_pylist()
            counts.update(map(lookup.source, uris))
    return counts


class _SourceLookup:
    """Finds the source of an image by its uri; what a list names is of the first list."""

    def __init__(self, sources: Sequence[str]) -> None:
        lists = [source for source in sources if source.startswith("@")]
        self._other = (lists or sources)[0]
        self._sources: Mapping[str, str] = {
            _base(source): source for source in reversed(sources) if source not in lists
        }

    def source(self, uri: str) -> str:
        """The source that names an image, the one nearest to it."""
        place = uri
        while place not in self._sources:
            if not place:
                return self._other
            place = place.rpartition("/")[0]
        return self._sources[place]

    def directory(self, uri: str, source: str) -> str:
        """The first directory of an image below its source; else the source, or a container."""
        base = _base(source)
        first, slash, _ = uri.removeprefix(f"{base}/").partition("/")
        return f"{base}/{first}" if slash and uri.startswith(f"{base}/") else source


def _base(source: str) -> str:
    """The directory or file of a source; of a pattern the directory before the first wildcard."""
    if patterns.is_pattern(source):
        source = WILDCARD.split(source)[0].rpartition("/")[0]
    return source.rstrip("/")


def _counts(counts: Counter[str]) -> str:
    named = [f"{name}: {count:,}" for name, count in counts.most_common(MAX_NAMED)]
    return ", ".join([*named, *(["..."] if len(counts) > MAX_NAMED else [])])
