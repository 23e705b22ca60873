"""Exceptions of this package: those that page, API and commands report, and of decoders.

Those about data sets are in `dataset_errors`, those of explanations in `explain_errors`.

    NSFWReviewError
    ├── SettingsError        a setting has a value that is not allowed
    ├── ImageError           a file cannot be classified; `kind` says why
    ├── ImageFailed          a file made the program fail; a scan goes on with the others
    ├── Unavailable          an image has no verdict; `kind` says why, as in its review
    ├── ModelError           the model cannot be used
    │   ├── ModelLoading     the model is not loaded yet
    │   ├── ModelNotFound    the named model is not on disk, in the cache or on the hub
    │   ├── ModelUnsupported the model's kind or its labels cannot be used
    │   ├── ModelDamaged     its files cannot be read, or contradict each other
    │   ├── ModelLibraryMissing  a package that it needs is not installed
    │   ├── ModelOutOfMemory it does not fit into memory
    │   ├── ModelLoadFailed  loading it failed for another reason
    │   └── PredictionFailed the model raised on this image
    │       └── OutOfMemory  there is not enough memory to run the model
    ├── PolicyError          thresholds out of order or out of range
    ├── CalibrationError     too few reviews to fit a calibration
    ├── AcceptanceError      images cannot be accepted as the reference: no reason is given
    │   └── NothingToAccept  no alarm of drift is raised, or nearly no image came after it
    ├── DecisionError        a decision that cannot be recorded
    │   └── DecisionRefused  a rule of the installation forbids it; `kind` says which
    ├── ImageRestricted      the image is hidden from everyone but administrators
    ├── LeaseError           a queue entry cannot be leased, or not be changed any more
    ├── FilterError          an invalid filter of the log
    ├── AccountError         a user or key that cannot be created or changed like this
    ├── SortingError         a file could not be moved into the folder of its action
    ├── RequestError         an invalid request
    │   ├── NotJson          its body is not JSON
    │   ├── RequestTooLarge  its body is over the limit
    │   └── RequestTooSlow   its body arrives more slowly than the minimum rate
    ├── NotSignedIn          the request is not authenticated
    │   └── UnknownKey       an ID token is signed with a key that is not known
    ├── Forbidden            the caller lacks a permission
    ├── OtherReviewer        a decision was made under another name than the caller's
    ├── NotFound             no such image, prediction or decision, or another caller's
    ├── SecretError          a stored secret cannot be decrypted
    ├── DatabaseTooNew       a newer version of the program has changed the database
    ├── BackupError          a backup cannot be written, read or restored; nothing was changed
    │   └── BackupDamaged    its content is not what was written
    ├── OutputError          a command cannot write to standard output
    └── TryLater             the server cannot do this now; `retry_after_s` says when to retry
        ├── RequestOutOfMemory  there was not enough memory to serve the request
        ├── TooManyRequests  the caller is over its rate limit or share
        ├── Overloaded       too many images are waiting for the model
        └── StorageError     database or files cannot be read or written; `kind` says why

    DecoderError             a decoder rejects a file; reported as an ImageError with its name
    ├── TooManyParts         the file has more parts than any real image
    └── UnsupportedSamples   the file is sound, but no decoder here can read its samples

Each NSFWReviewError has a `kind`, a stable code for programs, and a message for people. Messages
are shown as they are, so they name the value, the limit and what to do.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType


class ImageErrorKind(StrEnum):
    """Why a file cannot be classified."""

    MISSING = "missing"
    DIRECTORY = "directory"
    EMPTY = "empty"
    TOO_LARGE = "too_large"
    TOO_MANY_PIXELS = "too_many_pixels"
    NOT_AN_IMAGE = "not_an_image"
    TRUNCATED = "truncated"
    CORRUPT = "corrupt"
    UNSUPPORTED = "unsupported"
    NO_MEMORY = "no_memory"
    UNREADABLE = "unreadable"  # its container or its storage cannot be read
    ENCRYPTED = "encrypted"
    POINTER = "pointer"  # Git LFS has not downloaded the file


class StorageErrorKind(StrEnum):
    """Why the data directory cannot be read or written."""

    FULL = "storage_full"
    BUSY = "storage_busy"
    READ_ONLY = "storage_read_only"
    CORRUPT = "storage_corrupt"
    MISSING = "storage_missing"
    FAILED = "storage_failed"


class NSFWReviewError(Exception):
    """Base class of all errors of this package. `kind` is for programs, `str(error)` for people."""

    kind: str = "error"


class SettingsError(NSFWReviewError):
    """A setting has a value that is not allowed."""

    kind: str = "setting"


class AuditPlanError(SettingsError):
    """Audit rates that are not of the expected form, out of range, or contradict each other."""


class ImageError(NSFWReviewError):
    """A file that cannot be classified."""

    def __init__(self, kind: ImageErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind.value


class ImageFailed(NSFWReviewError):
    """A file made the program fail, which it should not; see the log."""

    kind: str = "failed"


class Unavailable(NSFWReviewError):
    """An image has no verdict, in a response that has no field for that."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class ModelError(NSFWReviewError):
    """The model cannot be used."""

    kind: str = "model"


class ModelLoading(ModelError):
    """The model is not loaded yet."""

    kind: str = "model_loading"


class ModelNotFound(ModelError):
    """The named model is not on disk, in the cache or on the hub."""

    kind: str = "model_not_found"


class ModelUnsupported(ModelError):
    """The model's kind or its labels cannot be used as they are."""

    kind: str = "model_unsupported"


class ModelDamaged(ModelError):
    """The model's files cannot be read, or contradict each other."""

    kind: str = "model_damaged"


class ModelLibraryMissing(ModelError):
    """A package that the model needs is not installed, or cannot be imported."""

    kind: str = "model_library_missing"


class ModelOutOfMemory(ModelError):
    """The model does not fit into memory."""

    kind: str = "no_memory"


class ModelLoadFailed(ModelError):
    """Loading the model failed for a reason without an error class of its own; see the log."""

    kind: str = "model_load_failed"


class PredictionFailed(ModelError):
    """The model raised on an image."""

    kind: str = "prediction_failed"


class OutOfMemory(PredictionFailed):
    """There is not enough memory to run the model."""

    kind: str = "no_memory"

    def __init__(self) -> None:
        super().__init__("There is not enough memory to run the model now. Try again later.")


class PolicyError(NSFWReviewError):
    """A policy with thresholds out of range or out of order."""

    kind: str = "policy"


class CalibrationError(NSFWReviewError):
    """There are too few reviews to fit a calibration."""

    kind: str = "calibration"


class AcceptanceError(NSFWReviewError):
    """Images cannot be accepted as the reference of drift: no reason is given."""

    kind: str = "acceptance"


class NothingToAccept(AcceptanceError):
    """No alarm of drift is raised, or too few images came after it to compare others with."""

    kind: str = "nothing_to_accept"


class DecisionError(NSFWReviewError):
    """A decision that cannot be recorded."""

    kind: str = "decision"


class Refusal(StrEnum):
    """Why a valid decision is not recorded."""

    NOT_SEEN = "not_seen"
    NO_PREVIEW = "no_preview"
    REASON_REQUIRED = "reason_required"


REFUSALS: Mapping[Refusal, str] = MappingProxyType(
    {
        Refusal.NOT_SEEN: "Reveal the image before you decide.",
        Refusal.NO_PREVIEW: "The preview of this image was deleted, so it cannot be decided. "
        "Upload the image again.",
        Refusal.REASON_REQUIRED: "A disagreement needs a reason. Choose at least one.",
    }
)


class DecisionRefused(DecisionError):
    """A rule of the installation forbids a decision, or some decisions of a batch.

    Args:
        reason: The first rule that one of them breaks.
        images: SHA-256 of the images whose decisions break that rule.
    """

    def __init__(self, reason: Refusal, images: Sequence[str]) -> None:
        super().__init__(REFUSALS[reason])
        self.kind = reason.value
        self.images = tuple(images)


class ImageRestricted(NSFWReviewError):
    """The image is hidden from everyone but administrators, and its preview must be kept."""

    kind: str = "restricted"

    def __init__(self) -> None:
        super().__init__("This image is restricted: administrators only may see it.")


class LeaseError(NSFWReviewError):
    """A queue entry is leased to another reviewer, or was decided since."""

    kind: str = "lease"


class FilterError(NSFWReviewError):
    """An invalid filter of the log."""

    kind: str = "filter"


class OtherReviewer(NSFWReviewError):
    """A decision was made under another name than the caller's."""

    kind: str = "other_reviewer"


class NotFound(NSFWReviewError):
    """No such image, prediction or decision, or it belongs to another caller."""

    kind: str = "not_found"


class AccountError(NSFWReviewError):
    """A user or an API key that cannot be created or changed like this."""

    kind: str = "account"


class SortingError(NSFWReviewError):
    """A file could not be moved or copied into the folder of its action; it is unchanged."""

    kind: str = "sorting"


class RequestError(NSFWReviewError):
    """An invalid request."""

    kind: str = "request"


class NotJson(RequestError):
    """A request whose body is not JSON."""


class RequestTooLarge(RequestError):
    """A request whose body is over the limit."""

    kind: str = "request_too_large"


class RequestTooSlow(RequestError):
    """A request whose body arrives more slowly than the minimum rate."""

    kind: str = "request_too_slow"


class NotSignedIn(NSFWReviewError):
    """The request is not authenticated."""

    kind: str = "not_signed_in"


class UnknownKey(NotSignedIn):
    """An ID token is signed with a key that is not among the known ones of its provider."""


class Forbidden(NSFWReviewError):
    """The caller lacks a permission."""

    kind: str = "forbidden"


MEMORY_RETRY_AFTER_S = 5  # until other requests have ended


class TryLater(NSFWReviewError):
    """The server cannot do this now. `retry_after_s` is in how many seconds to retry."""

    kind: str = "try_later"

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RequestOutOfMemory(TryLater):
    """There was not enough memory to serve the request."""

    kind: str = "no_memory"

    def __init__(self) -> None:
        super().__init__(
            "The server does not have enough memory for this request now. Try again later.",
            retry_after_s=MEMORY_RETRY_AFTER_S,
        )


class TooManyRequests(TryLater):
    """The caller is over its rate limit or its share of the server."""

    kind: str = "too_many_requests"


class Overloaded(TryLater):
    """Too many images are waiting for the model."""

    kind: str = "overloaded"


class SecretError(NSFWReviewError):
    """A stored secret cannot be decrypted."""

    kind: str = "secret"


class DatabaseTooNew(NSFWReviewError):
    """A newer version of the program has changed the database."""

    kind: str = "database_too_new"


class BackupError(NSFWReviewError):
    """A backup cannot be written, read or restored; nothing was changed."""

    kind: str = "backup"


class BackupDamaged(BackupError):
    """A backup whose content is not what was written."""

    kind: str = "backup_damaged"


class OutputError(NSFWReviewError):
    """Standard output cannot be written; the cause is the `OSError`."""

    kind: str = "output"


STORAGE_MESSAGES: Mapping[StorageErrorKind, str] = MappingProxyType(
    {
        StorageErrorKind.FULL: "The disk of the data directory or of temporary files is full, so "
        "nothing was saved. Free space on it and try again.",
        StorageErrorKind.BUSY: "Another process keeps the database locked, so nothing was saved. "
        "Try again; if this persists, end the process that holds the lock.",
        StorageErrorKind.READ_ONLY: "The data directory cannot be written, so nothing was saved. "
        "Make it writable for the account that runs this program.",
        StorageErrorKind.CORRUPT: "The database is damaged. Stop the server, restore review.db "
        "from a backup, then start it again.",
        StorageErrorKind.MISSING: "The data directory or its database was deleted, moved or "
        "unmounted, so nothing was saved. Put it back, or restart to begin with an empty one.",
        StorageErrorKind.FAILED: "The disk of the data directory reports errors, so nothing was "
        "saved. Check the disk; the server log has the details.",
    }
)
STORAGE_RETRY_AFTER_S = 30  # until an operator has acted
BUSY_RETRY_AFTER_S = 2  # until another process has finished its transaction


class StorageError(TryLater):
    """The database or a file of the data directory cannot be read or written.

    Args:
        kind: Why.
        where: First words of the message, for operators, who may see paths.
    """

    def __init__(self, kind: StorageErrorKind, *, where: str = "") -> None:
        busy = kind is StorageErrorKind.BUSY
        super().__init__(
            f"{where}: {STORAGE_MESSAGES[kind]}" if where else STORAGE_MESSAGES[kind],
            retry_after_s=BUSY_RETRY_AFTER_S if busy else STORAGE_RETRY_AFTER_S,
        )
        self.reason = kind
        self.kind = kind.value


class DecoderError(ValueError):
    """A decoder rejects a file, whose name it does not know; the text completes a sentence."""


class TooManyParts(DecoderError):
    """A file has more parts than any real image; the text says how many of what."""


class UnsupportedSamples(DecoderError):
    """A sound file whose samples no decoder here can read; the text describes them."""


# How native libraries report a failed allocation: libtiff and libheif, libstdc++, torch, CUDA.
ALLOCATION_FAILURES = (
    "out of memory",
    "bad_alloc",
    "not enough memory",
    "can't allocate memory",
    "failed to allocate",
)


def lacks_memory(error: BaseException) -> bool:
    """Whether an error of any library means that memory could not be allocated."""
    if isinstance(error, MemoryError):
        return True
    message = str(error).lower()
    return any(words in message for words in ALLOCATION_FAILURES)
