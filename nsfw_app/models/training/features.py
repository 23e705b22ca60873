"""Features of images: what the head of a model receives, computed once and kept in a file.

- The file is named after the weights, the configuration, the precision, and the versions of what
  prepares and computes; a record has the hash of the image. An interrupted run continues with what
  is there.
- A record that was not written completely, or was damaged later, is computed again.
"""

import hashlib
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nsfw_app import __version__, private_files
from nsfw_app.dataset_errors import TrainingError, TrainingSetError
from nsfw_app.models.training.head import Head
from nsfw_app.models.training.image_inputs import ImageInput, read_inputs

if TYPE_CHECKING:
    from nsfw_app.models.backends.pytorch import TransformersBackend

BATCH = 8  # images; no model is faster on a CPU with more
MAX_NAMED = 3  # damaged files in a message
PACKAGES = ("torch", "transformers", "pillow", "numpy", "timm", "torchvision")
OWN_NAME = re.compile(r"[0-9a-f]{32}-[a-z0-9-]+\.features")  # of a file of features
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Features:
    """Of n images: `hashes` of files, `values` (n, features), the model's `logits` (n, labels)."""

    hashes: Sequence[str]
    values: NDArray[np.float32]
    logits: NDArray[np.float32]

    def __getitem__(self, chosen: slice) -> "Features":
        """Those of some of the images."""
        return Features(self.hashes[chosen], self.values[chosen], self.logits[chosen])


class FeatureFile:
    """Features of images by the hash of their bytes, in a file that only grows.

    Args:
        path: The file; created with the first record.
        shape: Number of features and of labels.

    Raises:
        TrainingError: It cannot be read, or not be changed.
    """

    def __init__(self, path: Path, shape: tuple[int, int]) -> None:
        self._path = path
        self._record = np.dtype(
            [
                ("sha256", "V32"),
                ("features", "<f4", shape[0]),
                ("logits", "<f4", shape[1]),
                ("crc", "<u4"),
            ]
        )
        self._rows: dict[str, Any] = {}
        with _errors(path.parent):
            self._read()

    def _read(self) -> None:
        if not self._path.is_file():
            return
        size = self._path.stat().st_size
        if torn := size % self._record.itemsize:
            with self._path.open("r+b") as file:
                file.truncate(size - torn)
        for row in np.fromfile(self._path, self._record):
            if _crc(row) == row["crc"]:
                self._rows[row["sha256"].tobytes().hex()] = row

    def __contains__(self, sha256: str) -> bool:
        return sha256 in self._rows

    def __getitem__(self, sha256: str) -> Any:
        """The record, with the fields `features` and `logits`."""
        return self._rows[sha256]

    def add(self, hashes: Sequence[str], features: NDArray[Any], logits: NDArray[Any]) -> None:
        """Append a batch.

        Raises:
            TrainingError: It cannot be written.
        """
        rows = np.zeros(len(hashes), self._record)
        rows["features"], rows["logits"] = features, logits
        for row, sha256 in zip(rows, hashes, strict=True):
            row["sha256"] = np.void(bytes.fromhex(sha256))
            row["crc"] = _crc(row)
            self._rows[sha256] = row.copy()
        with _errors(self._path.parent):
            private_files.make_directory(self._path.parent)
            with self._path.open("ab") as file:
                file.write(rows.tobytes())


def compute_features(
    paths: Sequence[Path],
    backend: "TransformersBackend",
    *,
    directory: Path,
    threads: int,
    advance: Callable[[], None],
) -> Features:
    """The features of images, computed unless they are in the directory.

    Args:
        paths: Image files.
        backend: The model.
        directory: Where features are kept.
        threads: Images decoded at once.
        advance: Called after each image.

    Raises:
        TrainingSetError: Images cannot be decoded; the features of all others are kept.
        TrainingError: Features cannot be kept.
        ModelError: The model failed, or it has no head that can be replaced.
    """
    head = Head(backend)
    file = FeatureFile(directory / _name(backend), head.shape)
    hashes: list[str] = []
    damaged: list[ImageInput] = []
    for batch in batched(
        read_inputs(paths, backend, threads=threads, is_known=file.__contains__), BATCH
    ):
        new = {each.sha256: each.pixels for each in batch if each.pixels is not None}
        if new:
            file.add(list(new), *head.compute(np.stack(list(new.values()))))
        damaged += [each for each in batch if each.problem is not None]
        hashes += [each.sha256 for each in batch]
        for _ in batch:
            advance()
    if damaged:
        raise TrainingSetError(
            f"{len(damaged)} of {len(paths)} images cannot be used: "
            f"{' '.join(str(each.problem) for each in damaged[:MAX_NAMED])} Replace or remove "
            "them, and run the command again: it continues with the others."
        )
    rows = [file[sha256] for sha256 in hashes]
    return Features(
        hashes,
        np.stack([row["features"] for row in rows]),
        np.stack([row["logits"] for row in rows]),
    )


def delete_features(directory: Path) -> None:
    """Delete the files of features in a directory, and the directory if nothing else is in it."""
    with suppress(OSError):
        for path in directory.iterdir():
            if OWN_NAME.fullmatch(path.name):
                path.unlink()
        directory.rmdir()


@contextmanager
def _errors(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f"Features of the images cannot be kept in {directory}: {error.strerror or error}."
        ) from error


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Consecutive items in lists of this size; the last may be shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _name(backend: "TransformersBackend") -> str:
    """The name of the file for a model's features on this installation."""
    identity = backend.identity
    parts = [identity.weights_sha256, identity.revision, __version__]
    for package in PACKAGES:
        with suppress(PackageNotFoundError):  # timm models only
            parts.append(f"{package} {version(package)}")
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return f"{digest[:32]}-{identity.backend}.features"


def _crc(row: Any) -> int:
    return zlib.crc32(row["sha256"].tobytes() + row["features"].tobytes() + row["logits"].tobytes())
