"""A model hub on 127.0.0.1 that serves one saved model under every name.

    with serve(directory) as hub:
        environment = os.environ | client_environment(hub.url, home=empty_directory)

The hub's client reads its environment when it is imported, so set it for a new process. The hub
serves the requests that the client's downloads make: HEAD and GET of single files at the branch
`main` or at the commit. Every request is recorded.
"""

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ABSENT_URL = "http://127.0.0.1:1"  # no process listens there, and the system assigns no port so low
FILE_URL = re.compile(r"/[^/]+/[^/]+/resolve/([^/]+)/([^?]+)")  # owner, name, revision, file
COMMIT = hashlib.sha1(b"the only commit of this hub").hexdigest()


@dataclass(slots=True)
class Hub:
    """A running hub. `requests` are texts such as `HEAD /owner/name/resolve/main/config.json`."""

    directory: Path
    delay_seconds: float
    statuses: dict[str, int]
    url: str = ""
    requests: list[str] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def do_HEAD(self) -> None:
        self._respond()

    def do_GET(self) -> None:
        self._respond()

    def _respond(self) -> None:
        self.hub.requests.append(f"{self.command} {self.path}")
        if self.hub.closing.wait(self.hub.delay_seconds):
            return
        requested = FILE_URL.match(self.path)
        if not requested:
            self._send(404, error_code="RepoNotFound")
            return
        revision, file = requested.groups()
        status = self.hub.statuses.get(file, self.hub.statuses.get("*", 200))
        path = self.hub.directory / file
        if status != 200:
            self._send(status)
        elif revision not in {"main", COMMIT}:
            self._send(404, error_code="RevisionNotFound")
        elif not path.is_file():
            self._send(404, error_code="EntryNotFound")
        else:
            self._send(200, path.read_bytes())

    def _send(self, status: int, content: bytes = b"", *, error_code: str = "") -> None:
        self.send_response(status)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content)))
        if error_code:
            self.send_header("X-Error-Code", error_code)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        """Print nothing; requests are recorded."""


@contextmanager
def serve(
    directory: Path, *, delay_seconds: float = 0, statuses: dict[str, int] | None = None
) -> Iterator[Hub]:
    """Run a hub for the length of a `with` block.

    Args:
        directory: A model saved with save_pretrained.
        delay_seconds: How long each response takes; leaving the block ends the wait.
        statuses: HTTP statuses by file name, sent instead of the file; `*` is any file.
    """
    hub = Hub(directory, delay_seconds, dict(statuses or {}))
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.block_on_close = False  # a client that disconnected must not delay the test
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


def client_environment(url: str, *, home: Path) -> dict[str, str]:
    """The environment variables for a process that uses this hub, with its cache in `home`."""
    return {"HF_ENDPOINT": url, "HF_HOME": str(home), "NO_PROXY": "127.0.0.1"}
