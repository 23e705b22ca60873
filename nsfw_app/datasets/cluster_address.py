"""The address of a cluster: its forms, and what is wrong where nothing answers there."""

import socket

from nsfw_app.dataset_errors import ClusterError

AUTO, CLIENT = "auto", "ray://"
LOCAL = "local"  # address of a cluster of this machine only, which ends with the command
CONNECT_S = 10.0


def check_address(address: str) -> None:
    """Check that something listens at an address; Ray itself would try for minutes.

    Raises:
        ClusterError: Nothing does, or it is not an address.
    """
    if address in {LOCAL, AUTO}:
        return
    host, colon, port = address.removeprefix(CLIENT).rpartition(":")
    if not host or not colon or not port.isdigit():
        raise ClusterError(
            f"{address} is not the address of a cluster. It is HOST:PORT, {CLIENT}HOST:PORT, "
            f"{AUTO} or {LOCAL}."
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(connection_problem(address, error)) from error


def connection_problem(address: str, error: BaseException) -> str:
    """Why a cluster cannot be used, and what to do; Ray's own errors may be causes of others."""
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    for each in causes:
        text = " ".join(str(each).split())
        if "Version mismatch" in text:
            return f"{text} Install the same versions of Ray and Python on both."
    text = " ".join(str(error).split()) or type(error).__name__
    return (
        f"The cluster {address} cannot be reached: {text.rstrip('.')}. Is it running (`ray "
        "status`), its port open to this machine, and RAY_AUTH_MODE here as on its nodes?"
    )
