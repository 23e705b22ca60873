"""Uploads of gradio_client: quotas, owners, and deletion of old files."""

import io
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.datastructures import UploadFile

from nsfw_app.errors import NotFound, Overloaded, TooManyRequests
from nsfw_app.review.engine import Engine
from nsfw_app.rules.permissions import UserRole, user_caller
from nsfw_app.store import Store
from nsfw_app.web.middleware import gradio_uploads as module
from nsfw_app.web.middleware.gradio_uploads import CALLER_FILES, KEPT_S, Uploads
from tests.support.application import WebApp, open_app
from tests.support.fakes import image_bytes

ANN, BOB = (user_caller(name, UserRole.VIEWER) for name in ("ann", "bob"))


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    """Uploads with a quota of 1,000 bytes per caller."""
    return Uploads(tmp_path / "uploads" / "7860", root=tmp_path / "uploads", caller_bytes=1_000)


@pytest.fixture
def app(engine: Engine, store: Store, tmp_path: Path) -> Iterator[WebApp]:
    """The application with users."""
    with open_app(engine, store, tmp_path) as app:
        yield app


def file(size: int = 1, name: str = "a.png") -> UploadFile:
    """A file of a form."""
    return UploadFile(io.BytesIO(b"a" * size), size=size, filename=name)


def post(client: TestClient, *files: bytes) -> Any:
    """Send files in one request."""
    return client.post("/gradio_api/upload", files=[("files", ("a.png", data)) for data in files])


def contents(directory: Path) -> set[str]:
    """The names of everything below a directory."""
    return {path.name for path in directory.rglob("*")}


def test_a_caller_has_a_quota(uploads: Uploads) -> None:
    """Of bytes and of files; another caller has a quota of its own."""
    (first,) = uploads.add([file(900)], ANN)
    with pytest.raises(TooManyRequests, match=r"0\.001 MB of uploaded files at once"):
        uploads.add([file(50), file(51)], ANN)
    uploads.add([file(1_000)], BOB)
    uploads.forget(first)
    uploads.add([file(1_000)], ANN)
    with pytest.raises(TooManyRequests, match="256 uploaded files"):
        uploads.add([file(0)] * CALLER_FILES, ANN)


def test_all_callers_together_have_a_quota(uploads: Uploads) -> None:
    """With four quotas in use, a fifth caller is refused."""
    for number in range(4):
        uploads.add([file(1_000)], user_caller(f"user{number}", UserRole.VIEWER))
    with pytest.raises(Overloaded, match=r"0\.004 MB of uploaded files are in use"):
        uploads.add([file()], ANN)


def test_a_request_is_stored_completely_or_not_at_all(
    uploads: Uploads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the second file cannot be written, the first is deleted and the quota is released."""
    write, written = Uploads._write, []

    def fail_at_the_second(self: Uploads, file: UploadFile, path: Path) -> None:
        written.append(path)
        if len(written) == 2:
            raise OSError("The disk is full.")
        write(self, file, path)

    monkeypatch.setattr(Uploads, "_write", fail_at_the_second)
    with pytest.raises(OSError, match="full"):
        uploads.add([file(500), file(500)], ANN)
    assert not contents(tmp_path / "uploads") & {"a.png"}
    monkeypatch.undo()
    uploads.add([file(1_000)], ANN)


def test_uploads_are_private(uploads: Uploads, tmp_path: Path) -> None:
    """Files are 0600 and folders 0700 under any umask."""
    before = os.umask(0)
    try:
        (path,) = uploads.add([file()], ANN)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    for folder in (tmp_path / "uploads", *path.parents[:3]):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_a_caller_may_name_its_own_uploads_only(uploads: Uploads) -> None:
    """Other paths, paths with `..`, and those of other callers are refused."""
    (path,) = uploads.add([file()], ANN)
    uploads.check_owner(path, ANN)
    with_dots = path.parent / ".." / path.parent.name / path.name
    for foreign in (
        path.parent,
        path.parent.parent / "zz",
        path / "x",
        with_dots,
        Path("/etc/passwd"),
    ):
        with pytest.raises(NotFound):
            uploads.check_owner(foreign, ANN)
    with pytest.raises(NotFound):
        uploads.check_owner(path, BOB)


def test_everything_old_is_deleted(
    uploads: Uploads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uploads, other files, links, pipes and folders after ten minutes; recent ones stay."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept.txt").write_text("kept")
    directory = tmp_path / "uploads" / "7860"
    uploads.add([file(1_000)], ANN)
    nested = directory / "a" / "b" / "c"
    nested.mkdir(parents=True)
    (nested / "stray.png").write_bytes(b"x")
    (directory / "file").write_bytes(b"x")
    (directory / "link").symlink_to(outside)
    (nested / "dangling").symlink_to("nowhere")
    os.mkfifo(directory / "pipe")
    future = directory / "future"
    future.write_bytes(b"x")
    for path in [*directory.rglob("*"), directory]:
        os.utime(path, (1, 1), follow_symlinks=False)
    os.utime(future, (time.time() + 86_400,) * 2)  # as after a clock that was set back
    (directory / "new").write_bytes(b"x")
    later = time.monotonic() + KEPT_S + 1
    monkeypatch.setattr(module.time, "monotonic", lambda: later)
    uploads.delete_old()
    assert contents(directory) == {"new"}
    assert (outside / "kept.txt").read_text() == "kept"
    uploads.add([file(1_000)], ANN)  # the quota is free again


def test_uploads_of_a_killed_server_are_deleted(
    engine: Engine, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server deletes old files of another port; recent ones, of a running server, stay."""
    monkeypatch.setattr(module, "EVERY_S", 0.01)
    killed, running = (tmp_path / "uploads" / port / "caller" / "id" for port in ("1", "2"))
    for folder in (killed, running):
        folder.mkdir(parents=True)
        (folder / "a.png").write_bytes(image_bytes(9))
    for path in [*killed.parents[1].rglob("*"), killed.parents[1]]:
        os.utime(path, (time.time() - KEPT_S - 1,) * 2)
    with open_app(engine, store, tmp_path, port=3):
        end = time.perf_counter() + 10
        while killed.parents[1].exists():
            assert time.perf_counter() < end
            time.sleep(0.01)
    assert (running / "a.png").is_file()


def test_a_new_upload_is_not_deleted(uploads: Uploads) -> None:
    """It stays for ten minutes."""
    (path,) = uploads.add([file()], ANN)
    uploads.delete_old()
    assert path.is_file()


def test_the_running_application_deletes_old_uploads(
    engine: Engine, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the background, from its start on."""
    monkeypatch.setattr(module, "EVERY_S", 0.01)
    with open_app(engine, store, tmp_path) as app:
        (path,) = map(Path, post(app.signed_in("ann"), image_bytes(9)).json())
        clock = time.monotonic  # not stopped: the event loop's timers use it too
        monkeypatch.setattr(module.time, "monotonic", lambda: clock() + KEPT_S + 1)
        end = time.perf_counter() + 10
        while path.exists():
            assert time.perf_counter() < end
            time.sleep(0.01)


def test_the_route_reports_the_quota(app: WebApp) -> None:
    """429 with the limit and Retry-After; another caller is not affected."""
    ann, bob = app.signed_in("ann"), app.signed_in("bob")
    for _ in range(CALLER_FILES // 64):
        assert post(ann, *[b"x"] * 64).status_code == 200
    refused = post(ann, b"x")
    assert (refused.status_code, refused.json()["error"]["kind"]) == (429, "too_many_requests")
    assert int(refused.headers["retry-after"]) > 0
    assert "256 uploaded files" in refused.json()["error"]["message"]
    assert post(bob, b"x").status_code == 200
