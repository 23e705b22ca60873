"""The parts of a scan, as tables, and with the entries by which their images are read."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from nsfw_app.dataset_errors import ScanError, SourceError
from nsfw_app.datasets import named_members
from nsfw_app.datasets.entries import Entry
from nsfw_app.datasets.image_table import text
from nsfw_app.datasets.left_out import LeftOutFiles
from nsfw_app.datasets.part_files import PartFiles, read_footer, read_table
from nsfw_app.datasets.scan_record import ScanRecord
from nsfw_app.datasets.units import existing, find_units, parts_of, recorded


class ScannedParts:
    """Parts of the scan in a directory; one table is in memory at a time.

    Args:
        directory: Of the scan.

    Raises:
        ScanError: There is no scan, its part files cannot be listed, or those of a finished scan
            are not all there.
    """

    def __init__(self, directory: Path) -> None:
        self.record = ScanRecord.read(directory)
        self.directory = directory
        self.lost: list[str] = []  # sentences about sources that do not exist any more
        self._files = PartFiles(directory, tuple(self.record.roles))
        self._check_complete()

    @property
    def sources(self) -> Sequence[str]:
        """The sources of the scan, as they are found on this machine."""
        return list(map(recorded, self.record.sources))

    def tables(self) -> Iterator[pa.Table]:
        """The rows of each part.

        Raises:
            ScanError: A part file cannot be read.
        """
        for path in self._files.paths():
            yield read_table(path)

    def with_entries(self) -> Iterator[tuple[Sequence[Entry], pa.Table]]:
        """The rows of each part with the entries of their images.

        The sources are listed again. Entries of parts that are no longer listed, because one of
        their files changed, are made of their rows: the members of an archive that was searched
        can then not be read, those that a list names are looked up. So are those of parts whose
        source does not exist any more, which `lost` then names.

        Raises:
            ScanError: A part file cannot be read.
            SourceError: No source exists any more, or one cannot be listed.
        """
        units = find_units(self._found_sources(), left_out=LeftOutFiles(), excluded=self.directory)
        seen: set[str] = set()
        for unit in units:
            for part in parts_of(unit):
                path = self._files.path(part.key)
                if part.key in seen or not path.exists():
                    continue
                seen.add(part.key)
                table = read_table(path)
                entries = part.entries
                if len(table) < len(entries):  # others of its rows are in newer parts
                    by_uri = {text(entry.uri): entry for entry in entries}
                    entries = [by_uri[uri] for uri in table["uri"].to_pylist()]
                yield entries, table
        for key in sorted(self._files.keys() - seen):
            path = self._files.path(key)
            table = read_table(path)
            columns = [table[name].to_pylist() for name in ("uri", "version", "size_bytes")]
            entries = [
                Entry(uri, existing(uri), version=version or "", size=size)
                for uri, version, size in zip(*columns, strict=True)
            ]
            if not read_footer(path).container:
                found = {text(entry.uri): entry for entry in named_members.found(entries)}
                entries = [found.get(entry.uri, entry) for entry in entries]
            yield entries, table

    def _check_complete(self) -> None:
        paths, counts = self._files.paths(), self.record.counts
        if self.record.finished_at is None:
            return
        images = sum(read_footer(path).rows for path in paths)
        if (len(paths), images) != (counts.parts, counts.images):
            raise ScanError(
                f"{self._files.directory} has {images:,} images (part files: {len(paths):,}), and "
                f"the scan was finished with {counts.images:,} (part files: {counts.parts:,}). "
                "Run the same scan again: it scans what is missing."
            )

    def _found_sources(self) -> list[str]:
        """The sources that exist."""
        found, self.lost = [], []
        for source in self.sources:
            try:
                find_units([source], left_out=LeftOutFiles())
            except SourceError as error:
                self.lost.append(str(error))
            else:
                found.append(source)
        if not found:
            raise SourceError(f"{' '.join(self.lost)} Make the sources of the scan available.")
        return found
