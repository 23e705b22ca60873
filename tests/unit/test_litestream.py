"""Litestream replicates the database of a running store, as docs/backups.md describes it."""

import io
import re
import sqlite3
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from nsfw_app.backups.restore import restore
from nsfw_app.records import LogFilter
from nsfw_app.store import Store
from tests.support.backup_archives import backup_of
from tests.support.sample_records import add, add_image, answer

LITESTREAM = Path(sysconfig.get_path("scripts")) / "litestream"
DOCS = Path(__file__).parents[2] / "docs" / "backups.md"
LIMIT_S = 60


def configuration(directory: Path) -> str:
    """The configuration in the docs, for a database and a replica in a directory."""
    shown = re.search(r"```yaml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert shown
    text = re.sub(r"path: \S+/review\.db", f"path: {directory}/review.db", shown[1])
    replica = f"replica:\n      type: file\n      path: {directory}/replica\n"
    return re.sub(r"replica:\n(      .*\n)+", replica, text)


@contextmanager
def replicating(directory: Path) -> Iterator[None]:
    """Litestream runs; it is killed at the end, as with its machine."""
    (directory / "litestream.yml").write_text(configuration(directory))
    command = [str(LITESTREAM), "replicate", "-config", str(directory / "litestream.yml")]
    with (directory / "litestream.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def restored_decisions(directory: Path, target: Path) -> int:
    """Number of decisions in the database that Litestream restores; 0 if it cannot yet."""
    target.unlink(missing_ok=True)
    config = ["-config", str(directory / "litestream.yml")]
    command = [str(LITESTREAM), "restore", *config, "-o", str(target), f"{directory}/review.db"]
    if subprocess.run(command, capture_output=True, timeout=LIMIT_S).returncode:
        return 0
    with closing(sqlite3.connect(target)) as connection:
        return int(connection.execute("select count(*) from decisions").fetchone()[0])


def test_a_replica_has_every_decision(store: Store, tmp_path: Path) -> None:
    """Within seconds, while decisions are made; it opens as a store, and can be backed up."""
    add_image(store)
    target = tmp_path / "restored.db"
    with replicating(tmp_path):
        for number in range(20):
            add(store.log, answer(f"n{number}"), reviewer=f"reviewer {number}")
        end = time.monotonic() + LIMIT_S
        while restored_decisions(tmp_path, target) < 20:
            assert time.monotonic() < end, (tmp_path / "litestream.log").read_text()
            time.sleep(0.1)
        add(store.log, answer("later"), reviewer="later")  # decisions go on
    replica = Store(target, previews_dir=tmp_path / "images", journal_mode="wal")
    assert replica.log.size(LogFilter()) == 20
    assert replica.consistency.check() == []
    # Litestream's own tables are no obstacle to a restore.
    restore(io.BytesIO(backup_of(store)), tmp_path / "new")
