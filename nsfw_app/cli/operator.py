"""Who runs a command, for the audit."""

import getpass


def operator() -> str:
    """The account of the operating system under which a command runs."""
    try:
        return f"{getpass.getuser()} (command)"
    except (KeyError, OSError):  # in a container, a number may have no name
        return "unnamed (command)"
