"""Temporary files of gradio_client, stored until they are classified, in a folder per caller.

Replaces Gradio's own upload route, under which a caller can name any file that anyone uploaded.

- A caller reads and deletes its own uploads only.
- Their number and bytes are limited, per caller and in total.
- Everything older than `KEPT_S` in the directory of any server is deleted: files, folders, links.
  So the uploads of a server that was killed are deleted by the next one, on any port.
"""

import hashlib
import os
import shutil
import threading
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import anyio
from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import HTTPConnection

from nsfw_app import private_files
from nsfw_app.concurrency_limits import CALLERS
from nsfw_app.errors import NotFound
from nsfw_app.rules.permissions import Caller, Permission
from nsfw_app.web.auth.callers import needs
from nsfw_app.web.http.forms import files_of, limited_form
from nsfw_app.web.http.gate import ClassifyGate
from nsfw_app.web.http.shares import Shares

KEPT_S = 600
EVERY_S = 30  # seconds between sweeps
CALLER_FILES = 256
CALLER_FORMS = 4  # quota of one caller, in forms of the largest size
MAX_NAME_BYTES = 200  # of the 255 that file systems allow
RETRY_AFTER_S = 60


@dataclass(frozen=True, slots=True)
class _Upload:
    """An upload: folder of its owner, size in bytes, arrival on the monotonic clock in seconds."""

    owner: str
    size: int
    at: float


class Uploads:
    """Uploaded files in a directory.

    Args:
        directory: Directory of this server, which is also Gradio's (`GRADIO_TEMP_DIR`).
        root: Directory with those of all servers; old files anywhere below it are deleted.
        caller_bytes: The most bytes of one caller's uploads.
    """

    def __init__(self, directory: Path, *, root: Path, caller_bytes: int) -> None:
        self._directory = directory
        self._root = root
        self._files = Shares(
            CALLERS * CALLER_FILES, CALLER_FILES, "uploaded files", retry_after_s=RETRY_AFTER_S
        )
        self._bytes = Shares(
            CALLERS * caller_bytes,
            caller_bytes,
            "MB of uploaded files",
            unit=1e6,
            retry_after_s=RETRY_AFTER_S,
        )
        self._uploads: dict[Path, _Upload] = {}
        self._lock = threading.Lock()  # held while folders are created or deleted

    def add(self, files: Sequence[UploadFile], caller: Caller) -> list[Path]:
        """Store files of a caller, all or none; returns their paths.

        Raises:
            TooManyRequests: The caller's quota is exceeded.
            Overloaded: The quota of all callers together is exceeded.
            StorageError: The files cannot be written.
        """
        owner = _folder(caller)
        size = sum(file.size or 0 for file in files)
        self._files.acquire(owner, len(files))
        try:
            self._bytes.acquire(owner, size)
        except Exception:
            self._files.release(owner, len(files))
            raise
        paths = []
        for file in files:
            path = self._directory / owner / uuid.uuid4().hex / _file_name(file.filename or "")
            paths.append(path)
            self._uploads[path] = _Upload(owner, file.size or 0, time.monotonic())
        try:
            for file, path in zip(files, paths, strict=True):
                self._write(file, path)
        except BaseException:
            for path in paths:
                self.forget(path)
            raise
        return paths

    def check_owner(self, path: Path, caller: Caller) -> None:
        """Check that a path is an upload of this caller.

        Raises:
            NotFound: It is another caller's upload, or no upload.
        """
        own_folder = self._directory / _folder(caller)
        if ".." in path.parts or path.parent.parent != own_folder:
            raise NotFound("No such upload of yours.")

    def forget(self, path: Path) -> None:
        """Delete an upload and the folders created for it."""
        with self._lock:
            shutil.rmtree(path.parent, ignore_errors=True)
            with suppress(OSError):  # the folder has other uploads
                path.parent.parent.rmdir()
        if upload := self._uploads.pop(path, None):
            self._files.release(upload.owner)
            self._bytes.release(upload.owner, upload.size)

    def delete_old(self) -> None:
        """Delete everything older than `KEPT_S`."""
        long_ago = time.monotonic() - KEPT_S
        for path, upload in list(self._uploads.items()):
            if upload.at < long_ago:
                self.forget(path)
        with self._lock:
            _delete_old(self._root)

    @asynccontextmanager
    async def deleting_old(self, _: object) -> AsyncIterator[None]:
        """Delete old uploads until the block ends; a lifespan of the application."""

        async def delete() -> None:
            while True:
                await run_in_threadpool(self.delete_old)
                await anyio.sleep(EVERY_S)

        async with anyio.create_task_group() as group:
            group.start_soon(delete)
            yield
            group.cancel_scope.cancel()

    def _write(self, file: UploadFile, path: Path) -> None:
        with private_files.storage_errors():
            with self._lock:
                private_files.make_directory(path.parent)
            with private_files.staged(path, file.file.read()) as part:
                part.replace(path)


def upload_routes(gate: ClassifyGate, uploads: Uploads) -> APIRouter:
    """`POST /gradio_api/upload`."""
    router = APIRouter(include_in_schema=False)

    @router.post("/gradio_api/upload")
    async def upload(
        request: Request, caller: Annotated[Caller, Depends(needs(Permission.CLASSIFY))]
    ) -> list[str]:
        async with gate.slot(request), limited_form(request, gate) as form:
            paths = await run_in_threadpool(uploads.add, files_of(form), caller)
            return [str(path) for path in paths]

    return router


def uploads_of(connection: HTTPConnection) -> Uploads:
    """The uploads of the application that serves this Gradio call."""
    uploads: Uploads = connection.scope["state"]["uploads"]
    return uploads


def _delete_old(directory: Path) -> None:
    """Delete everything in a directory that was not modified recently, of any kind.

    A modification time in the future counts as old: the clock was set back since.
    """
    now, old = time.time(), []
    for folder, folders, files in os.walk(directory, topdown=False):
        for name in (*files, *folders):
            path = Path(folder, name)
            with suppress(FileNotFoundError):  # deleted concurrently
                if abs(now - path.lstat().st_mtime) > KEPT_S:
                    old.append(path)
    for path in old:
        with suppress(OSError):  # a folder with recent files
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink()


def _folder(caller: Caller) -> str:
    return hashlib.sha256(str(caller.owner).encode()).hexdigest()[:32]


def _file_name(name: str) -> str:
    """A file name that is a single path component, with its extension kept."""
    last = name.replace("\\", "/").rpartition("/")[2].replace("\0", "")
    last = last.encode("utf-8", "replace")[-MAX_NAME_BYTES:].decode("utf-8", "ignore")
    return last if last not in {"", ".", ".."} else "file"
