"""Child processes of benchmarks: their errors, and their end."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import processes
from benchmarks.processes import ProcessFailed, in_new_process
from nsfw_app.errors import ImageError, ImageErrorKind, ModelDamaged
from tests.support.server import ROOT

TIMEOUT_S = 120


def leave_a_thread(seconds: float) -> str:
    """Return while a thread still runs that is not a daemon."""
    threading.Thread(target=time.sleep, args=(seconds,)).start()
    return "result"


def fail(kind: str) -> None:
    """Raise one of several errors."""
    raise {
        "model": ModelDamaged("The weights are damaged."),
        "image": ImageError(ImageErrorKind.EMPTY, "Empty."),
        "bug": KeyError("bug"),
    }[kind]


@pytest.mark.parametrize(
    ("function", "argument", "kind", "message"),
    [
        (fail, "model", "model_damaged", "The weights are damaged."),
        (fail, "image", "empty", "Empty."),
        (fail, "bug", "unexpected", "fail: KeyError: 'bug'"),
        (os._exit, 7, "process_ended", "_exit ended with code 7."),
    ],
)
def test_a_failure_in_a_child_process_is_typed(
    function: Callable[[Any], Any], argument: Any, kind: str, message: str
) -> None:
    """Every way in which a measurement fails ends in one error with kind and message."""
    with pytest.raises(ProcessFailed) as caught:
        in_new_process(function, argument)
    assert (caught.value.kind, str(caught.value)) == (kind, message)


def test_a_thread_does_not_keep_a_child_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library's thread cannot keep a process that has sent its result."""
    monkeypatch.setattr(processes, "EXIT_S", 0.5)
    start = time.monotonic()
    assert in_new_process(leave_a_thread, 60.0) == "result"
    assert time.monotonic() - start < 30


def test_child_processes_end_with_their_parent(tmp_path: Path) -> None:
    """Also when the parent is killed, which no code of its own can handle."""
    path = tmp_path / "pid"
    script = (
        "from benchmarks.processes import in_new_process; "
        "from tests.support.python_process import write_pid_and_sleep; "
        f"in_new_process(write_pid_and_sleep, {str(path)!r})"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT)
    try:
        wait_for(path.is_file)
    finally:
        parent.kill()
        parent.wait()
    command_line = Path(f"/proc/{path.read_text()}/cmdline")  # empty once the process has ended
    wait_for(lambda: not command_line.is_file() or not command_line.read_bytes())


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until a condition is true."""
    end = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
