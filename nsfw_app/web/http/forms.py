"""Files that arrive as parts of a form, never more than the limits."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request
from starlette.datastructures import FormData, UploadFile

from nsfw_app.errors import RequestError
from nsfw_app.private_files import storage_errors
from nsfw_app.web.http.bodies import check_charset, limited
from nsfw_app.web.http.gate import ClassifyGate
from nsfw_app.web.http.json_bodies import media_type
from nsfw_app.web.http.request_limits import MAX_FIELDS, MAX_IMAGES
from nsfw_app.web.http.validation import shown

FIELD = "file"
FORM = "multipart/form-data"
EXAMPLE = f"Send each image with its file name, as curl -F {FIELD}=@photo.jpg does."


@asynccontextmanager
async def limited_form(request: Request, gate: ClassifyGate) -> AsyncIterator[FormData]:
    """The parts of a request in multipart/form-data.

    Raises:
        RequestTooLarge: They have more bytes than the limit.
        RequestTooSlow: They arrive more slowly than the minimum rate.
        RequestError: It is no multipart/form-data.
        StorageError: The disk has no room for them.
    """
    sent_as = media_type(request)
    if sent_as != FORM:
        raise RequestError(
            f"This route takes {FORM}, not {sent_as or 'a body without content type'}. {EXAMPLE}"
        )
    check_charset(request)
    receive = limited(request, request.receive, gate.limits.form_bytes)
    with storage_errors():  # large parts are kept in temporary files
        async with Request(request.scope, receive).form(
            max_files=MAX_IMAGES, max_fields=MAX_FIELDS
        ) as form:
            yield form


def files_of(form: FormData) -> list[UploadFile]:
    """The files among the parts, in their order.

    Raises:
        RequestError: There are none.
    """
    files = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
    if not files:
        fields = ", ".join(shown(name) for name in form)
        found = f"no file, only the text fields {fields}" if fields else "no part"
        raise RequestError(f"The form has {found}. {EXAMPLE}")
    return files
