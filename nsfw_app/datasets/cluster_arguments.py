"""Arguments of a command that scans on a cluster, where Ray stores and shows its command line."""

from collections.abc import Iterable

from nsfw_app.dataset_errors import ClusterError
from nsfw_app.datasets.locations import is_redacted, redacted
from nsfw_app.datasets.units import parted


def check_arguments(sources: Iterable[str]) -> None:
    """Check that no source that was named on the command line has credentials.

    Raises:
        ClusterError: One has, or a parameter that may be one.
    """
    for source in sources:
        mark, location = parted(source)
        if is_redacted(location):
            instead = (
                "Save the list as a file, with URLs in full, and name that"
                if mark
                else "Put the URL into a list file and name that"
            )
            raise ClusterError(
                f"{mark}{redacted(location)} has credentials, or a parameter that may be one. A "
                "Ray cluster stores the command line, and shows it to everyone who reaches it. "
                f"{instead}: @list.txt."
            )
