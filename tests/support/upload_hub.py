"""A hub on 127.0.0.1 to which dataset repositories are uploaded: it keeps what it received.

It speaks the requests of the client's commits: create a repository, its information and files,
validate a card, choose how files are uploaded and which are ignored, large files, commit, squash;
and its downloads of files of a commit.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote

TOKEN = "hf_ofTheTests"
LARGE = (".jpg", ".parquet")  # as in the .gitattributes of new dataset repositories
OF_REPOSITORY = re.compile(
    r"/api/datasets/([^/]+/[^/]+)(?:/(tree|preupload|commit|super-squash)/([^/]+))?/?"
)
DOWNLOAD = re.compile(r"/datasets/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


@dataclass
class Repository:
    """A repository: its files by path, and the messages of its commits.

    `added` has the paths that each commit added, `squashed` how often the history was squashed.
    """

    private: bool
    files: dict[str, bytes] = field(default_factory=lambda: {".gitattributes": b"*.jpg lfs\n"})
    commits: list[str] = field(default_factory=lambda: ["initial commit"])
    added: list[list[str]] = field(default_factory=list)
    squashed: int = 0
    trees: dict[str, dict[str, bytes]] = field(default_factory=dict)

    @property
    def sha(self) -> str:
        """The hash of the latest commit."""
        return hashlib.sha1(repr((self.commits, self.squashed)).encode()).hexdigest()

    def tree(self, revision: str) -> dict[str, bytes] | None:
        """The files of a commit; None for one that was squashed."""
        return self.files if revision in {"main", self.sha} else self.trees.get(revision)

    def ignores(self, path: str) -> bool:
        """Whether a line of `.gitignore` is a pattern of this path, or of a directory of it."""
        patterns = self.files.get(".gitignore", b"").decode().split()
        parts = path.split("/")
        directories = [f"{'/'.join(parts[:count])}/" for count in range(1, len(parts))]
        names = {path, parts[-1], *directories}
        return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)

    def squash(self, message: str) -> None:
        """Leave one commit."""
        self.commits[:] = [message]
        self.trees.clear()
        self.squashed += 1


NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class UploadHub(ThreadingHTTPServer):
    """Repositories of the organization `org`.

    - `statuses` are sent instead of a response to paths that contain the key; 0 ends the
      connection.
    - `headers` are sent with these statuses.
    - `before_commit` are called before a commit is checked, one each, as if another client came
      first.
    - `creates_public` is a hub that ignores that a new repository is to be private.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.repositories: dict[str, Repository] = {}
        self.large: dict[str, bytes] = {}
        self.statuses: dict[str, int] = {}
        self.headers: dict[str, str] = {}
        self.before_commit: list[Callable[[Repository], None]] = []
        self.creates_public = False
        self.requests: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    server: UploadHub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each response waits 40 ms for an ACK

    def do_GET(self) -> None:
        self._respond()

    def do_HEAD(self) -> None:
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
            self._send(status, {"error": f"Refused here, {authorization}"}, self.server.headers)
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
        else:
            self._of_repository(path, body)

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

    def _download(self, repository: Repository, revision: str, path: str) -> None:
        files = repository.tree(revision)
        if files is None:
            self._send(404, {"error": "Revision"}, {"X-Error-Code": "RevisionNotFound"})
        elif path not in files:
            self._send(404, {"error": "Entry"}, {"X-Error-Code": "EntryNotFound"})
        else:
            etag = f'"{hashlib.sha256(files[path]).hexdigest()}"'
            headers = {"X-Repo-Commit": revision, "ETag": etag}
            self._send_bytes(200, files[path], "application/octet-stream", headers)

    def _of_repository(self, path: str, body: bytes) -> None:
        match = OF_REPOSITORY.fullmatch(path) or DOWNLOAD.fullmatch(path)
        if match is None or match[1] not in self.server.repositories:
            self._send(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        elif match.re is DOWNLOAD:
            self._download(self.server.repositories[match[1]], match[2], match[3])
        else:
            self._call(match[1], match[2], match[3], body)

    def _call(self, name: str, noun: str | None, revision: str | None, body: bytes) -> None:
        repository = self.server.repositories[name]
        match noun:
            case "tree":
                files = repository.tree(revision or "main")
                assert files is not None
                self._send(200, [_listed(path, data) for path, data in files.items()])
            case "super-squash":
                repository.squash(_json(body)["message"])
                self._send(200, {})
            case "preupload":
                files = [_mode(each["path"], repository) for each in _json(body)["files"]]
                self._send(200, {"files": files})
            case "commit":
                self._commit(name, repository, [_json(line) for line in body.splitlines()])
            case _:
                about = {"private": repository.private, "sha": repository.sha, "siblings": []}
                self._send(200, {"id": name, **about})

    def _commit(self, name: str, repository: Repository, lines: list[Any]) -> None:
        header = lines[0]["value"]
        if self.server.before_commit:
            self.server.before_commit.pop(0)(repository)
        if header.get("parentCommit") not in {None, repository.sha}:
            self._send(412, {"error": "A commit has happened since."})
            return
        repository.trees[repository.sha] = dict(repository.files)
        repository.added.append([line["value"]["path"] for line in lines[1:] if _adds(line)])
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

    def _send(self, status: int, content: object, headers: Mapping[str, str] = NO_HEADERS) -> None:
        self._send_bytes(status, json.dumps(content).encode(), "application/json", headers)

    def _send_bytes(
        self, status: int, data: bytes, content_type: str, headers: Mapping[str, str]
    ) -> None:
        self.send_response(status)
        always = {"Content-Type": content_type, "Content-Length": str(len(data))}
        for name, value in {**always, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _adds(line: dict[str, Any]) -> bool:
    return line["key"] in {"file", "lfsFile"}


def _json(body: bytes) -> Any:
    return json.loads(body)


def _listed(path: str, data: bytes) -> dict[str, object]:
    oid = hashlib.sha1(data).hexdigest()
    return {"type": "file", "oid": oid, "size": len(data), "path": path}


def _mode(path: str, repository: Repository) -> dict[str, object]:
    mode = "lfs" if path.endswith(LARGE) else "regular"
    return {"path": path, "uploadMode": mode, "shouldIgnore": repository.ignores(path)}


@contextmanager
def upload_hub() -> Iterator[UploadHub]:
    """A hub that runs within the block."""
    with UploadHub() as hub:
        thread = threading.Thread(target=hub.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield hub
        hub.shutdown()
        thread.join()
