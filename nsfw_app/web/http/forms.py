"""Parses multipart/form-data within the limits of a request."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

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


class CompleteFormParser(MultiPartParser):
    """Rejects a form without its closing boundary; Starlette's parser drops its last part."""

    _is_complete = False

    def on_end(self) -> None:
        """Called after the closing boundary."""
        self._is_complete = True

    async def parse(self) -> FormData:
        """Parse the form.

        Raises:
            MultiPartException: It is not multipart/form-data, or passes a limit.
            RequestError: It is cut short.
        """
        form = await super().parse()
        if not self._is_complete:
            for file in self._files_to_close_on_error:
                file.close()
            raise RequestError("The form is cut short: its closing boundary is missing.")
        return form


@asynccontextmanager
async def limited_form(request: Request, gate: ClassifyGate) -> AsyncIterator[FormData]:
    """Parse a request's form; its files are closed at the end of the block.

    Raises:
        RequestTooLarge: The body is over the limit.
        RequestTooSlow: The body arrives below the minimum rate.
        RequestError: It is not multipart/form-data, passes a limit, or is cut short.
        StorageError: Temporary files cannot be written.
    """
    sent_as = media_type(request)
    if sent_as != FORM:
        raise RequestError(
            f"This route takes {FORM}, not {sent_as or 'a body without content type'}. {EXAMPLE}"
        )
    check_charset(request)
    receive = limited(request, request.receive, gate.limits.form_bytes)
    with storage_errors():  # large parts are kept in temporary files
        async with aclosing(Request(request.scope, receive).stream()) as stream:
            parser = CompleteFormParser(
                request.headers, stream, max_files=MAX_IMAGES, max_fields=MAX_FIELDS
            )
            try:
                form = await parser.parse()
            except MultiPartException as error:
                raise RequestError(error.message) from None
        try:
            yield form
        finally:
            await form.close()


def files_of(form: FormData) -> list[UploadFile]:
    """The files of a form, in order.

    Raises:
        RequestError: There is none.
    """
    files = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
    if not files:
        fields = ", ".join(shown(name) for name in form)
        found = f"no file, only the text fields {fields}" if fields else "no part"
        raise RequestError(f"The form has {found}. {EXAMPLE}")
    return files
