"""A hub on 127.0.0.1 to which dataset repositories are uploaded: it keeps what it received.

It speaks the requests of the client's commits: create a repository, its information and files,
validate a card, choose how files are uploaded, large files, commit.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

TOKEN = "hf_ofTheTests"
LARGE = (".jpg", ".parquet")  # as in the .gitattributes of new dataset repositories
OF_REPOSITORY = re.compile(r"/api/datasets/([^/]+/[^/]+)(?:/(tree|preupload|commit)/[^/]+)?/?")


@dataclass
class Repository:
    """A repository: its files by path, and the messages of its commits."""

    private: bool
    files: dict[str, bytes] = field(default_factory=lambda: {".gitattributes": b"*.jpg lfs\n"})
    commits: list[str] = field(default_factory=lambda: ["initial commit"])

    @property
    def sha(self) -> str:
        """The hash of the latest commit."""
        return hashlib.sha1(repr(self.commits).encode()).hexdigest()


class UploadHub(ThreadingHTTPServer):
    """Repositories of the organization `org`.

    - `statuses` are sent instead of a response to paths that contain the key; 0 ends the
      connection.
    - `creates_public` is a hub that ignores that a new repository is to be private.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.repositories: dict[str, Repository] = {}
        self.large: dict[str, bytes] = {}
        self.statuses: dict[str, int] = {}
        self.creates_public = False
        self.requests: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    server: UploadHub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._respond()

    def do_POST(self) -> None:
        self._respond()

    def do_PUT(self) -> None:
        self._respond()

    def log_message(self, *arguments: object) -> None:
        """Print nothing; requests are recorded."""

    def _respond(self) -> None:
        body = self._body()
        path = unquote(self.path.partition("?")[0])
        self.server.requests.append(f"{self.command} {path}")
        status = next((s for key, s in self.server.statuses.items() if key in path), None)
        if status == 0:
            self.close_connection = True
        elif status is not None:
            authorization = self.headers.get("Authorization", "")
            self._send(status, {"error": f"Refused here, {authorization}"})
        elif path.startswith("/lfs/"):
            assert hashlib.sha256(body).hexdigest() == path.removeprefix("/lfs/")
            self.server.large[path.removeprefix("/lfs/")] = body
            self._send(200, {})
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._send(401, {"error": "Invalid username or password."})
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif path == "/api/validate-yaml":
            self._send(200, {"errors": [], "warnings": []})
        elif path.endswith("/info/lfs/objects/batch"):
            self._send(200, {"objects": [self._action(each) for each in _json(body)["objects"]]})
        elif (match := OF_REPOSITORY.fullmatch(path)) and match[1] in self.server.repositories:
            self._of_repository(match[1], match[2], body)
        else:
            self._send(404, {"error": "Repository not found"}, error_code="RepoNotFound")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        if asked["organization"] != "org":
            self._send(403, {"error": "You don't have the rights to create this dataset"})
        elif name in self.server.repositories:
            self._send(409, {"url": f"{self.server.url}/datasets/{name}", "error": "It exists"})
        else:
            assert asked["type"] == "dataset"
            private = asked.get("visibility") == "private" and not self.server.creates_public
            self.server.repositories[name] = Repository(private)
            self._send(200, {"url": f"{self.server.url}/datasets/{name}"})

    def _action(self, file: dict[str, Any]) -> dict[str, Any]:
        known = file["oid"] in self.server.large
        upload = {"upload": {"href": f"{self.server.url}/lfs/{file['oid']}"}}
        return {"oid": file["oid"], "size": file["size"]} | ({} if known else {"actions": upload})

    def _of_repository(self, name: str, noun: str | None, body: bytes) -> None:
        repository = self.server.repositories[name]
        match noun:
            case "tree":
                files = repository.files.items()
                self._send(200, [_listed(path, data) for path, data in files])
            case "preupload":
                self._send(200, {"files": [_mode(each) for each in _json(body)["files"]]})
            case "commit":
                self._commit(name, repository, [_json(line) for line in body.splitlines()])
            case _:
                about = {"private": repository.private, "sha": repository.sha, "siblings": []}
                self._send(200, {"id": name, **about})

    def _commit(self, name: str, repository: Repository, lines: list[Any]) -> None:
        header = lines[0]["value"]
        if header.get("parentCommit") != repository.sha:
            self._send(412, {"error": "A commit has happened since."})
            return
        for line in lines[1:]:
            value = line["value"]
            match line["key"]:
                case "deletedFile":
                    del repository.files[value["path"]]
                case "lfsFile":
                    repository.files[value["path"]] = self.server.large[value["oid"]]
                case "file":
                    repository.files[value["path"]] = base64.b64decode(value["content"])
        repository.commits.append(header["summary"])
        url = f"{self.server.url}/datasets/{name}/commit/{repository.sha}"
        self._send(200, {"success": True, "commitOid": repository.sha, "commitUrl": url})

    def _send(self, status: int, content: object, *, error_code: str = "") -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if error_code:
            self.send_header("X-Error-Code", error_code)
        self.end_headers()
        self.wfile.write(data)


def _json(body: bytes) -> Any:
    return json.loads(body)


def _listed(path: str, data: bytes) -> dict[str, object]:
    oid = hashlib.sha1(data).hexdigest()
    return {"type": "file", "oid": oid, "size": len(data), "path": path}


def _mode(file: dict[str, Any]) -> dict[str, object]:
    mode = "lfs" if file["path"].endswith(LARGE) else "regular"
    return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False}


@contextmanager
def upload_hub() -> Iterator[UploadHub]:
    """A hub that runs within the block."""
    with UploadHub() as hub:
        thread = threading.Thread(target=hub.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield hub
        hub.shutdown()
        thread.join()
