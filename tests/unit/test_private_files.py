"""Private files: modes, atomic writes, and translation of operating system errors."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from nsfw_app import private_files
from nsfw_app.errors import StorageError
from nsfw_app.models.build_files import new_build
from nsfw_app.private_files import make_directory, restrict, restrict_tree, staged, storage_errors
from nsfw_app.review.engine import Engine
from nsfw_app.store import Store
from tests.support.application import open_app


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    """Usual umasks, and 0."""
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    """The permissions of a file or directory."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("umask")
def test_new_directories_and_files_are_private(tmp_path: Path) -> None:
    """Every created directory has mode 0700, every file 0600."""
    path = tmp_path / "a" / "b" / "c"
    make_directory(path)
    with staged(path / "d.bin", b"data") as part:
        part.replace(path / "d.bin")
    made = [tmp_path / "a", tmp_path / "a" / "b", path]
    assert [mode(directory) for directory in made] == [0o700] * 3
    assert mode(path / "d.bin") == 0o600
    assert (path / "d.bin").read_bytes() == b"data"


def test_a_staged_file_that_is_not_moved_is_deleted(tmp_path: Path) -> None:
    """After an error in the block no file remains."""
    with pytest.raises(ZeroDivisionError), staged(tmp_path / "a", b"data"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_restrict_tree_is_recursive(tmp_path: Path) -> None:
    """Files and directories of an earlier version become private; a link's target does not."""
    outside = tmp_path / "outside"
    outside.write_bytes(b"")
    outside.chmod(0o644)
    root = tmp_path / "root"
    (root / "below").mkdir(parents=True)
    (root / "below" / "file").write_bytes(b"")
    (root / "link").symlink_to(outside)
    for path, wide in ((root, 0o777), (root / "below", 0o755), (root / "below" / "file", 0o666)):
        path.chmod(wide)
    restrict_tree(root, tmp_path / "missing")
    assert [mode(path) for path in (root, root / "below", root / "below" / "file")] == [
        0o700,
        0o700,
        0o600,
    ]
    assert mode(outside) == 0o644


def test_restrict_leaves_stricter_modes(tmp_path: Path) -> None:
    """A file that is read-only for its owner stays read-only."""
    path = tmp_path / "file"
    path.write_bytes(b"")
    path.chmod(0o400)
    restrict(path)
    assert mode(path) == 0o400


def test_a_failed_restriction_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that cannot be changed does not prevent the start."""
    path = tmp_path / "file"
    path.write_bytes(b"")
    path.chmod(0o644)

    def refuse(self: Path, mode: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(private_files.Path, "chmod", refuse)
    restrict(path)
    assert f"{path} remains readable by other accounts" in caplog.text


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, "storage_full"),
        (errno.EDQUOT, "storage_full"),
        (errno.EFBIG, "storage_full"),
        (errno.EROFS, "storage_read_only"),
        (errno.EACCES, "storage_read_only"),
        (errno.ENOENT, "storage_missing"),
        (errno.ENOTDIR, "storage_missing"),
        (errno.EIO, "storage_failed"),
    ],
)
def test_system_errors_have_a_kind(number: int, kind: str) -> None:
    """Each becomes a `StorageError` with a message and Retry-After."""
    with pytest.raises(StorageError) as raised, storage_errors():
        raise OSError(number, os.strerror(number), "/secret/path")
    assert raised.value.kind == kind
    assert raised.value.retry_after_s > 0
    assert "/secret" not in str(raised.value)  # callers of the API read it


@pytest.mark.usefixtures("umask")
def test_optimized_models_and_uploads_are_private(
    engine: Engine, store: Store, tmp_path: Path
) -> None:
    """Their directories are private too."""
    with new_build(tmp_path / "engines" / "model" / "revision" / "onnx") as build:
        (build / "model.onnx").write_bytes(b"weights")
    with open_app(engine, store, tmp_path) as app:
        files = {"files": ("a.png", b"data", "image/png")}
        assert app.signed_in("ann").post("/gradio_api/upload", files=files).status_code == 200
    paths = [path for name in ("engines", "uploads") for path in (tmp_path / name).rglob("*")]
    assert {path.name for path in paths} >= {"model.onnx", "a.png"}
    wide = [str(path) for path in paths if mode(path) & 0o077]
    assert wide == []
