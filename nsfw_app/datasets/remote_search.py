"""File search below URLs, by the rules of `file_search`, without links."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from nsfw_app.dataset_errors import SourceError
from nsfw_app.datasets import containers, files
from nsfw_app.datasets.files import FileStatus
from nsfw_app.datasets.left_out import LeftOut, LeftOutFiles
from nsfw_app.datasets.locations import WEB, is_valid, located, name_of, redacted, scheme
from nsfw_app.errors import ImageError
from nsfw_app.imaging.formats import SUFFIXES

MAX_DEPTH = 64  # directories within each other; index pages of a web server can go on for ever


@dataclass(slots=True)
class RemoteSearch:
    """Finds files below URLs; those in one directory are in memory.

    Args:
        left_out: Counts what is left out.
    """

    left_out: LeftOutFiles

    def files(self, url: str) -> Iterator[FileStatus]:
        """The files below a URL, files before subdirectories, both sorted; or the file that it is.

        Raises:
            SourceError: It does not exist, or cannot be listed.
        """
        if not self._is_directory(url):
            yield FileStatus(url)
            return
        waiting = [(url, 0)]
        while waiting:
            directory, depth = waiting.pop()
            try:
                found = files.listing(directory)
            except ImageError as error:
                if directory == url:
                    raise SourceError(located(url, error)) from error
                self.left_out.add(LeftOut.UNREADABLE, redacted(directory))
                continue
            inner = [each.location for each in found if each.is_directory]
            for location in reversed(inner):
                if name_of(location).startswith("."):
                    self.left_out.add(LeftOut.HIDDEN, redacted(location))
                elif depth == MAX_DEPTH:
                    self.left_out.add(LeftOut.UNREADABLE, redacted(location))
                else:
                    waiting.append((location, depth + 1))
            for each in found:
                if not each.is_directory and self._is_wanted(each):
                    yield replace(each, is_found=True)

    def _is_wanted(self, file: FileStatus) -> bool:
        name = name_of(file.location)
        if name.startswith("."):
            self.left_out.add(LeftOut.HIDDEN, redacted(file.location))
        elif not containers.is_in_directories(name):
            self.left_out.add(LeftOut.NAME, redacted(file.location))
        else:
            return True
        return False

    def _is_directory(self, url: str) -> bool:
        if containers.is_member(url):
            return False
        if not is_valid(url):
            return False
        if scheme(url) in WEB:  # the index page of a web server
            return url.partition("?")[0].endswith("/")
        if url.endswith("/"):
            return True
        if containers.kind_of(url) or PurePosixPath(name_of(url)).suffix.lower() in SUFFIXES:
            return False  # a list may have millions of them, and each costs a request
        try:
            return files.status(url).is_directory
        except ImageError as error:
            raise SourceError(located(url, error)) from error
        except SourceError:  # of an unknown scheme, which a list can name
            return False
