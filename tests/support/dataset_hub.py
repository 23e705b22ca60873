"""A hub on 127.0.0.1 with one dataset repository: what the client lists and downloads of it."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

COMMIT = hashlib.sha1(b"the only commit of this repository").hexdigest()
RANGE = re.compile(r"bytes=(\d+)-(\d+)")


class DatasetHub(ThreadingHTTPServer):
    """Serves `files`, by path in the repository `org/name`."""

    daemon_threads = True

    def __init__(self, files: Mapping[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = files
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: DatasetHub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = unquote(self.path.partition("?")[0])
        if path == "/api/datasets/org/name":
            self._send_json({"id": "org/name", "sha": COMMIT, "siblings": []})
        elif path.startswith("/api/datasets/org/name/tree/main"):
            self._send_json(self._tree(path.partition("/tree/main")[2].strip("/")))
        elif path.startswith("/datasets/org/name/resolve/main/"):
            self._send_file(self.server.files[path.partition("/resolve/main/")[2]])
        else:
            self._send(404, b"", {})

    def log_message(self, *arguments: object) -> None:
        """Print nothing."""

    def _tree(self, directory: str) -> list[dict[str, object]]:
        prefix = f"{directory}/" if directory else ""
        files = self.server.files
        names = {n[len(prefix) :].partition("/")[0] for n in files if n.startswith(prefix)}
        return [
            {
                "type": "file" if (path := f"{prefix}{name}") in files else "directory",
                "oid": hashlib.sha1(files.get(path, b"")).hexdigest(),
                "size": len(files.get(path, b"")),
                "path": path,
            }
            for name in sorted(names)
        ]

    def _send_json(self, content: object) -> None:
        self._send(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _send_file(self, data: bytes) -> None:
        match = RANGE.match(self.headers.get("Range", ""))
        start, end = (int(match[1]), int(match[2])) if match else (0, len(data))
        part = data[start : end + 1]
        headers = {"Content-Range": f"bytes {start}-{start + len(part) - 1}/{len(data)}"}
        self._send(206 if match else 200, part, headers if match else {})

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        always = {"Content-Length": str(len(data)), "X-Repo-Commit": COMMIT}
        for name, value in {**always, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def dataset_hub(files: Mapping[str, bytes]) -> Iterator[DatasetHub]:
    """A hub that runs within the block."""
    with DatasetHub(files) as hub:
        thread = threading.Thread(target=hub.serve_forever, daemon=True)
        thread.start()
        yield hub
        hub.shutdown()
        thread.join()
