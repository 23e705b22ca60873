"""Where gradio_client's files lie until they are judged: in a folder of whoever sent them.

It takes the place of Gradio's own upload route, under which any caller may name any file that
anyone has uploaded.
"""

import hashlib
import shutil
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from nsfw_app import private_files
from nsfw_app.access import Caller, Permission
from nsfw_app.errors import NotFound
from nsfw_app.web.callers import needs
from nsfw_app.web.forms import files_of, limited_form
from nsfw_app.web.judging import Judging

KEPT_S = 3600  # what nobody asked to have judged within that time is deleted
MAX_NAME_BYTES = 200  # of the 255 that file systems allow


def upload_routes(judging: Judging, directory: Path) -> APIRouter:
    """The route.

    Args:
        judging: Whose limits hold.
        directory: Where files lie; Gradio must know it as its own.
    """
    router = APIRouter(include_in_schema=False)

    @router.post("/gradio_api/upload")
    async def upload(
        request: Request, caller: Annotated[Caller, Depends(needs(Permission.CLASSIFY))]
    ) -> list[str]:
        async with judging.place(request), limited_form(request, judging) as form:
            return [await _keep(file, directory, caller) for file in files_of(form)]

    return router


def check_owner(path: Path, caller: Caller, directory: Path) -> None:
    """Let a caller name only what they have uploaded into the directory.

    Raises:
        NotFound: It is somebody else's, or something else altogether.
    """
    mine = directory / _folder(caller)
    if ".." in path.parts or path.parent.parent != mine:
        raise NotFound("No such upload of yours.")


def forget(path: Path) -> None:
    """Delete a file that was judged, with the folder made for it."""
    shutil.rmtree(path.parent, ignore_errors=True)


def forget_old(directory: Path) -> None:
    """Delete what nobody asked to have judged in time, whoever put it there."""
    for folder in directory.glob("*/*"):
        with suppress(FileNotFoundError):  # judged just now
            if folder.stat().st_mtime < time.time() - KEPT_S:
                shutil.rmtree(folder, ignore_errors=True)


async def _keep(file: UploadFile, directory: Path, caller: Caller) -> str:
    path = directory / _folder(caller) / uuid.uuid4().hex / _file_name(file.filename or "")
    await run_in_threadpool(_write, path, await file.read())
    return str(path)


def _write(path: Path, data: bytes) -> None:
    with private_files.storage_errors():
        private_files.make_directory(path.parent)
        with private_files.staged(path, data) as part:
            part.replace(path)


def _folder(caller: Caller) -> str:
    return hashlib.sha256(str(caller.owner).encode()).hexdigest()[:32]


def _file_name(name: str) -> str:
    """A name that is one part of a path and nothing more, its extension kept."""
    last = name.replace("\\", "/").rpartition("/")[2].replace("\0", "")
    last = last.encode("utf-8", "replace")[-MAX_NAME_BYTES:].decode("utf-8", "ignore")
    return last if last not in {"", ".", ".."} else "file"
