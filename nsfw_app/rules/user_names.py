"""Names of users and API keys."""

import re

from nsfw_app.errors import AccountError
from nsfw_app.records import IMPORT_PREFIX, is_import_source

NAME = re.compile(r"\w[\w.@-]{0,63}")  # letters of any script; no space, colon or slash
RESERVED = frozenset({"anonymous", "key", "local"})


def check_name(name: str) -> None:
    """Check that users and keys may have this name.

    Raises:
        AccountError: It is invalid, reserved, or that of imported labels.
    """
    if is_import_source(name):
        raise AccountError(
            f"'{name}' is not a valid name: decisions under a name that begins with "
            f"{IMPORT_PREFIX} are imported labels."
        )
    if not NAME.fullmatch(name) or name.casefold() in RESERVED:
        raise AccountError(
            f"'{name}' is not a valid name. A name has up to 64 letters, digits and . @ - _ and "
            f"begins with a letter or digit; {', '.join(sorted(RESERVED))} are reserved."
        )
