"""A web server of files in memory: range requests, ETags, index pages; counts what it sends."""

import hashlib
import re
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import unquote


class RangeServer(ThreadingHTTPServer):
    """Serves `files`, by path.

    Attributes:
        files: Their contents.
        sent_bytes: Bytes of bodies, by path.
        requests: Method and path of each request.
        has_ranges: Whether it answers range requests as such.
        has_tags: Whether it sends ETags.
        password: `user:password` that requests need; none if empty.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.sent_bytes: dict[str, int] = {}
        self.requests: list[str] = []
        self.has_ranges = True
        self.has_tags = True
        self.password = ""
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: RangeServer
    protocol_version = "HTTP/1.1"
    WORD: ClassVar = re.compile(r"bytes=(\d+)-(\d*)")

    def do_HEAD(self) -> None:
        self._serve(with_body=False)

    def do_GET(self) -> None:
        self._serve(with_body=True)

    def log_message(self, *arguments: object) -> None:
        """Nothing."""

    def _serve(self, *, with_body: bool) -> None:
        path = unquote(self.path.partition("?")[0])
        server = self.server
        server.requests.append(f"{self.command} {path}")
        wanted = f"Basic {b64encode(server.password.encode()).decode()}"
        if server.password and self.headers["Authorization"] != wanted:
            self._send(401, b"", {}, with_body=with_body)
            return
        if path.endswith("/"):
            names = {n.removeprefix(path) for n in server.files if n.startswith(path)}
            links = {n.partition("/")[0] + ("/" if "/" in n else "") for n in names}
            page = "<a href='?C=N'>Name</a>" + "".join(f"<a href='{n}'>x</a>" for n in links)
            headers = {"Content-Type": "text/html"}
            self._send(200 if names else 404, page.encode(), headers, with_body=with_body)
            return
        data = server.files.get(path)
        if data is None:
            self._send(404, b"", {}, with_body=with_body)
            return
        headers = {"ETag": f'"{hashlib.md5(data).hexdigest()}"'} if server.has_tags else {}
        status = 200
        match = self.WORD.match(self.headers.get("Range", ""))
        if server.has_ranges and match:
            start, end = int(match[1]), int(match[2] or len(data) - 1)
            headers["Content-Range"] = f"bytes {start}-{min(end, len(data) - 1)}/{len(data)}"
            data, status = data[start : end + 1], 206
        if not server.has_ranges:
            headers["Accept-Ranges"] = "none"
        if with_body:  # before the client may look
            server.sent_bytes[path] = server.sent_bytes.get(path, 0) + len(data)
        self._send(status, data, headers, with_body=with_body)

    def _send(self, status: int, data: bytes, headers: dict[str, str], *, with_body: bool) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(data)


@contextmanager
def range_server() -> Iterator[RangeServer]:
    """A server on the loopback interface that runs within the block."""
    with RangeServer() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
