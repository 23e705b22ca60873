"""Servers that are forked from a process which has imported their libraries.

The imports take 10 s of CPU time, many times that of what a test does with its server. Tests of the
start itself, and benchmarks, run `app.py` in a new interpreter.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
POLL_S = 0.02


class ForkedProcess:
    """A process that `Preloader` has forked, with what tests use of `subprocess.Popen`."""

    def __init__(self, preloader: "Preloader", pid: int) -> None:
        self._preloader = preloader
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        if self.returncode is None:
            self.returncode = self._preloader.ask({"poll": self.pid})
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its exit status.

        Raises:
            subprocess.TimeoutExpired: It still runs after `timeout` seconds.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired("app.py", timeout or 0)
            time.sleep(POLL_S)
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


class Preloader:
    """A process with the libraries of the server, from which servers are forked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from tests.support.preloaded import run; run()"],
            cwd=ROOT,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "GRADIO_ANALYTICS_ENABLED": "False"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, *, environment: Mapping[str, str], directory: Path, log: Path) -> ForkedProcess:
        """Run `app.py` in a directory; what it prints is in a file."""
        start = {"environment": dict(environment), "directory": str(directory), "log": str(log)}
        return ForkedProcess(self, self.ask(start))

    def ask(self, request: Mapping[str, Any]) -> Any:
        """Send a request to the process; its response."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        with self._lock:
            stdin.write(json.dumps(request) + "\n")
            stdin.flush()
            return json.loads(stdout.readline())

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait()


def run() -> None:
    """Import the libraries, then fork a server or report a status for each line of the input."""
    # ruff: noqa: F401
    import uvicorn

    import nsfw_app.evidence.summary
    import nsfw_app.models.backends.open_nsfw
    import nsfw_app.ui
    import nsfw_app.web.app
    from nsfw_app.server import main

    for line in sys.stdin:
        request = json.loads(line)
        if "poll" in request:
            pid, status = os.waitpid(request["poll"], os.WNOHANG)
            response = os.waitstatus_to_exitcode(status) if pid else None
        else:
            response = os.fork()
            if not response:
                _become_server(main, **request)
        sys.stdout.write(json.dumps(response) + "\n")
        sys.stdout.flush()


def _become_server(main: Any, *, environment: dict[str, str], directory: str, log: str) -> None:
    """Serve in this process, and end it."""
    os.setsid()
    os.chdir(directory)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.clear()
    os.environ.update(environment)
    status = 0
    try:
        main()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
        if isinstance(error.code, str):
            sys.stderr.write(f"{error.code}\n")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
