"""Files that gradio_client uploads, until they are judged: each in a folder of its caller.

They take the place of Gradio's own upload route, under which any caller may name any file that
anyone has uploaded.

- A caller reads and deletes its own uploads only.
- Their number and bytes are limited, for each caller and for all together.
- Everything that lies in the directory for longer than `KEPT_S` is deleted: files, folders, links.
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
from nsfw_app.errors import NotFound
from nsfw_app.rules.permissions import Caller, Permission
from nsfw_app.web.auth.callers import needs
from nsfw_app.web.http.forms import files_of, limited_form
from nsfw_app.web.http.gate import ClassifyGate
from nsfw_app.web.http.shares import CALLERS, Shares

KEPT_S = 600
EVERY_S = 30  # how often old ones are looked for
CALLER_FILES = 256
CALLER_FORMS = 4  # of the largest size, that a caller's uploads may add up to
MAX_NAME_BYTES = 200  # of the 255 that file systems allow
RETRY_AFTER_S = 60


@dataclass(frozen=True, slots=True)
class _Kept:
    """An upload: whose it is, its bytes, and when it arrived on the monotonic clock."""

    owner: str
    size: int
    at: float


class Uploads:
    """Uploaded files in a directory.

    Args:
        directory: Where they lie; Gradio must know it as its own.
        caller_bytes: The most bytes of one caller's uploads.
    """

    def __init__(self, directory: Path, *, caller_bytes: int) -> None:
        self._directory = directory
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
        self._kept: dict[Path, _Kept] = {}
        self._lock = threading.Lock()  # while folders are made or deleted

    def add(self, files: Sequence[UploadFile], caller: Caller) -> list[Path]:
        """Keep files for a caller, all or none; where they lie.

        Raises:
            TooManyRequests: The caller's uploads would be too many, or too large.
            Overloaded: Those of all callers would be.
            StorageError: They cannot be written.
        """
        owner = _folder(caller)
        size = sum(file.size or 0 for file in files)
        self._files.take(owner, len(files))
        try:
            self._bytes.take(owner, size)
        except Exception:
            self._files.give_back(owner, len(files))
            raise
        paths = []
        for file in files:
            path = self._directory / owner / uuid.uuid4().hex / _file_name(file.filename or "")
            paths.append(path)
            self._kept[path] = _Kept(owner, file.size or 0, time.monotonic())
        try:
            for file, path in zip(files, paths, strict=True):
                self._write(file, path)
        except BaseException:
            for path in paths:
                self.forget(path)
            raise
        return paths

    def check_owner(self, path: Path, caller: Caller) -> None:
        """Let a caller name only what it has uploaded.

        Raises:
            NotFound: The path is another caller's upload, or something else altogether.
        """
        mine = self._directory / _folder(caller)
        if ".." in path.parts or path.parent.parent != mine:
            raise NotFound("No such upload of yours.")

    def forget(self, path: Path) -> None:
        """Delete an upload with the folders made for it."""
        with self._lock:
            shutil.rmtree(path.parent, ignore_errors=True)
            with suppress(OSError):  # its caller has others
                path.parent.parent.rmdir()
        if kept := self._kept.pop(path, None):
            self._files.give_back(kept.owner)
            self._bytes.give_back(kept.owner, kept.size)

    def delete_old(self) -> None:
        """Delete everything that lies there for too long."""
        long_ago = time.monotonic() - KEPT_S
        for path, kept in list(self._kept.items()):
            if kept.at < long_ago:
                self.forget(path)
        with self._lock:
            _delete_old(self._directory)

    @asynccontextmanager
    async def deleting_old(self, _: object) -> AsyncIterator[None]:
        """Delete old uploads until the block ends; a lifespan of an application."""

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
    """The route that takes uploads."""
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
    """The uploads of the application that serves a call of Gradio's."""
    uploads: Uploads = connection.scope["state"]["uploads"]
    return uploads


def _delete_old(directory: Path) -> None:
    """Delete everything in a directory that was not changed lately, links and folders too."""
    now, old = time.time(), []
    for folder, folders, files in os.walk(directory, topdown=False):
        for name in (*files, *folders):
            path = Path(folder, name)
            with suppress(FileNotFoundError):  # judged just now
                if abs(now - path.lstat().st_mtime) > KEPT_S:  # also from before a clock was set
                    old.append(path)
    for path in old:
        with suppress(OSError):  # a folder in which something new lies
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink()


def _folder(caller: Caller) -> str:
    return hashlib.sha256(str(caller.owner).encode()).hexdigest()[:32]


def _file_name(name: str) -> str:
    """A name that is one part of a path and nothing more, its extension kept."""
    last = name.replace("\\", "/").rpartition("/")[2].replace("\0", "")
    last = last.encode("utf-8", "replace")[-MAX_NAME_BYTES:].decode("utf-8", "ignore")
    return last if last not in {"", ".", ".."} else "file"
