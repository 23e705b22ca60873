"""Files that arrive as parts of a form, never more than the limits."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request
from starlette.datastructures import FormData, UploadFile

from nsfw_app.errors import RequestError
from nsfw_app.private_files import storage_errors
from nsfw_app.web.bodies import limited
from nsfw_app.web.judging import Judging

MAX_FILES = 64
MAX_FIELDS = 8
FIELD = "file"


@asynccontextmanager
async def limited_form(request: Request, judging: Judging) -> AsyncIterator[FormData]:
    """The parts of a request, whose bytes together stay below twice the limit of one file.

    Raises:
        RequestTooLarge: They do not.
        RequestTooSlow: They do not come.
        RequestError: It is no multipart/form-data.
        StorageError: The disk has no room for them.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise RequestError("Send multipart/form-data, each image as a part named 'file'.")
    receive = limited(request.receive, 2 * judging.engine.limits.max_bytes)
    with storage_errors():  # large parts are kept in temporary files
        async with Request(request.scope, receive).form(
            max_files=MAX_FILES, max_fields=MAX_FIELDS
        ) as form:
            yield form


def files_of(form: FormData) -> list[UploadFile]:
    """The files among the parts, in their order.

    Raises:
        RequestError: There are none.
    """
    files = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
    if not files:
        raise RequestError("There is no image: send each as a part named 'file'.")
    return files
