"""Types of path, query and body parameters that several routes share."""

from typing import Annotated

from fastapi import Path, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field

from nsfw_app.records import SHA256_PATTERN

MAX_DAYS = 36_500  # of a period; a century
MAX_NAME_CHARACTERS = 4_000  # of a file name, which may be a path; PATH_MAX of Linux is 4,096 bytes

RowId = Annotated[int, Path(ge=1, lt=1 << 63)]  # a rowid of SQLite
Sha256 = Annotated[str, Field(pattern=SHA256_PATTERN)]


def single_values(request: Request) -> None:
    """Refuse a query parameter that is given more than once: all but one would be ignored.

    Raises:
        RequestValidationError: One is.
    """
    for name in request.query_params:
        given = len(request.query_params.getlist(name))
        if given > 1:
            error = {"type": "repeated", "loc": ("query", name), "input": given}
            raise RequestValidationError([error | {"msg": f"given {given} times, expected once"}])


class EvidenceSelection(BaseModel):
    """Which images evidence is of; what is left out selects all, or the model that runs."""

    model_config = ConfigDict(extra="forbid")

    days: int | None = Field(None, ge=1, le=MAX_DAYS, description="The last days; all without it.")
    source: str | None = Field(
        None,
        min_length=1,
        max_length=MAX_NAME_CHARACTERS,
        description="Where the images came from; all without it.",
    )
    model: str | None = Field(
        None,
        min_length=1,
        max_length=MAX_NAME_CHARACTERS,
        description="The model's name; the loaded one without it.",
    )
