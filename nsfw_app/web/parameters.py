"""Types of path, query and body parameters that several routes share."""

from typing import Annotated

from fastapi import Path
from pydantic import Field

from nsfw_app.records import SHA256_PATTERN

MAX_DAYS = 36_500  # of a period; a century
MAX_NAME_CHARACTERS = 4_000  # of a file name, which may be a path; PATH_MAX of Linux is 4,096 bytes

RowId = Annotated[int, Path(ge=1, lt=1 << 63)]  # a rowid of SQLite
Sha256 = Annotated[str, Field(pattern=SHA256_PATTERN)]
