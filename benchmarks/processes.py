"""Child processes of benchmarks: they end with their parent, however it ends."""

import ctypes
import logging
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from nsfw_app.cli import LogHandler
from nsfw_app.errors import NSFWReviewError

log = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1  # linux/prctl.h
EXIT_S = 5  # threads of native libraries may keep a process that has sent its result


class ProcessFailed(NSFWReviewError):
    """A function failed in its child process. `kind` is that of the original error."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def in_new_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a new process, and return its result.

    - Memory and threads of the measurement are the process's own, and are released with it.
    - The process ends with this call, and with this process, also when that is killed.

    Args:
        function: A function at the top level of a module.
        arguments: Picklable.

    Raises:
        ProcessFailed: The function raised an error, or the process ended without a result.
    """
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(sender, os.getpid(), function, arguments))
    process.start()
    sender.close()
    try:
        result, failure = receiver.recv()
    except EOFError:
        process.join(EXIT_S)
        failure = "process_ended", f"{function.__name__} ended with code {process.exitcode}."
    finally:
        process.join(EXIT_S)
        process.kill()
        receiver.close()
    if failure is not None:
        raise ProcessFailed(*failure)
    return result


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used, all its threads together; Linux only."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system = fields[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def end_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends; Linux only.

    Args:
        parent: The parent's process id, which may have ended already.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _run(
    sender: Connection, parent: int, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    """Send a pair: the result and None, or None and the kind and message of an error."""
    end_with_parent(parent)
    # Typed errors are the parent's to print; the traceback of one is not.
    logging.getLogger("nsfw_app").handlers = [LogHandler(verbose=False)]
    result, failure = None, None
    try:
        result = function(*arguments)
    except NSFWReviewError as error:
        failure = error.kind, str(error)
    except Exception as error:
        log.exception("%s failed.", function.__name__)
        failure = "unexpected", f"{function.__name__}: {type(error).__name__}: {error}"
    sender.send((result, failure))
