"""Exceptions about data sets: labels, scans, clusters, training and uploads.

    NSFWReviewError
    ├── LabelSetError        a labeled set cannot be read, or holds nothing to evaluate
    ├── ScanError            a scan's directory cannot be read, written or continued
    │   ├── ScanDiffers      it has a scan with another model, limits or sources
    │   ├── ScanRunning      another process scans into it
    │   ├── PartDamaged      a part file is damaged or missing; its images can be scanned again
    │   ├── ImagesLost       most files of a group that a list or table names are gone
    │   └── ScanFilterError  its rows cannot be filtered, or the result cannot be written
    ├── ClusterError         a cluster cannot be used for a scan, or not any more
    │   ├── NodeDiffers      a node has another model or other versions of libraries
    │   ├── NotShared        a node cannot reach the output or a source of a scan
    │   └── UnitsFailed      some units of a scan could not be scanned on any node
    ├── SourceError          a source of images that was named cannot be listed
    ├── TrainingError        a model cannot be trained from a training set, or not be written
    │   └── TrainingSetError a training set cannot be read, is too small, or leaks between splits
    └── PushError            data cannot be uploaded to a repository, or not be read from it
        ├── PushForbidden    there is no token, or it has no permission there
        ├── PublicRepository everyone could see the images there
        ├── FilesIgnored     the `.gitignore` there would keep files out of a commit
        ├── HubFailed        the hub cannot be reached, or an upload to it failed
        │   └── HubConflict  the repository was changed during the upload
        └── HubDataError     what was saved in the repository cannot be read or restored
            └── ServerReplaced another server was restored under the same name

All others are in `errors`.
"""

from nsfw_app.errors import NSFWReviewError


class LabelSetError(NSFWReviewError):
    """A labeled set cannot be read, or holds nothing to evaluate."""

    kind: str = "labels"


class ScanError(NSFWReviewError):
    """The directory of a scan cannot be read, written or continued."""

    kind: str = "scan"


class ScanDiffers(ScanError):
    """The directory has a scan with another model, other limits or other sources."""

    kind: str = "scan_differs"


class PartDamaged(ScanError):
    """A part file is damaged or missing; its images can be scanned again."""

    kind: str = "part_damaged"


class ScanRunning(ScanError):
    """Another process scans into the directory."""

    kind: str = "scan_running"


class ImagesLost(ScanError):
    """Most files that a list or table names together cannot be found any more."""

    kind: str = "images_lost"


class ScanFilterError(ScanError):
    """Rows of a scan cannot be filtered like this, or the result cannot be written."""

    kind: str = "scan_filter"


class ClusterError(NSFWReviewError):
    """A cluster cannot be used for a scan, or not any more."""

    kind: str = "cluster"


class NodeDiffers(ClusterError):
    """A node has another model, or other versions of libraries, than the others."""

    kind: str = "node_differs"


class NotShared(ClusterError):
    """A node cannot reach the output or a source of a scan."""

    kind: str = "not_shared"


class UnitsFailed(ClusterError):
    """Some units of a scan could not be scanned on any node; all others are."""

    kind: str = "units_failed"


class SourceError(NSFWReviewError):
    """A source of images that was named cannot be listed."""

    kind: str = "source"


class TrainingError(NSFWReviewError):
    """A model cannot be trained from a training set, or not be written where it is to be."""

    kind: str = "training"


class TrainingSetError(TrainingError):
    """A training set cannot be read, has too few images, or has a group in both splits."""

    kind: str = "training_set"


class PushError(NSFWReviewError):
    """Data cannot be uploaded to a dataset repository, or not be read from it."""

    kind: str = "push"


class PushForbidden(PushError):
    """There is no token, it has no permission, or there is no such organization."""

    kind: str = "push_forbidden"


class PublicRepository(PushError):
    """The repository is public, and that was not allowed."""

    kind: str = "public_repository"


class FilesIgnored(PushError):
    """The `.gitignore` of the repository matches files that a commit is to add."""

    kind: str = "files_ignored"


class HubFailed(PushError):
    """The hub cannot be reached, or failed during an upload.

    Args:
        message: What happened.
        retry_after_s: When the hub allows another attempt; None where it does not say.
    """

    kind: str = "hub_failed"

    def __init__(self, message: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class HubConflict(HubFailed):
    """The repository was changed between reading it and the commit that follows."""

    kind: str = "hub_conflict"


class HubDataError(PushError):
    """What was saved in a repository cannot be read, or not be restored by this version."""

    kind: str = "hub_data"


class RollUpInterrupted(PushError):
    """A roll-up ends before the next file: the server is stopped, or a save has failed."""

    kind: str = "interrupted"

    def __init__(self) -> None:
        super().__init__("The roll-up was interrupted.")


class ServerReplaced(HubDataError):
    """Another server was restored under the same name: what this one saves is not restored."""

    kind: str = "server_replaced"
