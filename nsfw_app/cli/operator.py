"""The operator: the account that runs a command, as recorded in the audit log."""

import getpass


def operator() -> str:
    """Name of the operating system's account that runs this process."""
    try:
        return f"{getpass.getuser()} (command)"
    except (KeyError, OSError):  # in a container, a user id may have no name
        return "unnamed (command)"
