"""A server whose machine loses its disk: restored at the start, copied at the end."""

import json
import signal
import urllib.request
from pathlib import Path

from nsfw_app.backups.snapshot_directory import SnapshotDirectory
from nsfw_app.backups.snapshots import SnapshotWriter
from nsfw_app.records import LogFilter
from nsfw_app.store import Store
from tests.support.sample_records import FAKE, SHA256, add, add_image, answer
from tests.support.server import serving


def test_a_new_machine_goes_on_where_the_old_one_stopped(tmp_path: Path, store: Store) -> None:
    """Decisions are there; one that is made now is in the snapshot that SIGTERM writes."""
    mount = tmp_path / "mount"
    mount.mkdir()
    add_image(store)
    add(store.log, answer("before"), reviewer="ann")
    SnapshotWriter(store, SnapshotDirectory(mount), interval_s=1).stop()
    machine = tmp_path / "machine"
    machine.mkdir()
    with serving(machine, NSFW_SNAPSHOT_DIR=str(mount), NSFW_SNAPSHOT_MINUTES="1440") as server:
        assert server.rows("select reviewer from decisions") == [{"reviewer": "ann"}]
        try:
            ready = urllib.request.urlopen(f"{server.url}/readyz", timeout=30)
        except urllib.error.HTTPError as loading:  # the model
            ready = loading
        with ready:
            assert json.load(ready)["snapshots"].keys() == {"last_success_at", "failing", "pending"}
        decision = {
            "image_sha256": SHA256, "label": "nsfw", "threshold": 0.5, "nonce": "after",
            "model": FAKE.model, "revision": FAKE.revision, "backend": FAKE.backend,
        }  # fmt: skip
        request = urllib.request.Request(
            f"{server.url}/desk/decisions",
            data=json.dumps(decision).encode(),
            headers={"content-type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=30).close()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == -signal.SIGTERM
        assert "Restored 1 decisions and 1 previews of 20" in server.log.read_text()
    SnapshotDirectory(mount).restore_newest(tmp_path / "next")
    restored = Store(
        tmp_path / "next" / "review.db", previews_dir=tmp_path / "next/images", journal_mode="wal"
    )
    assert restored.log.size(LogFilter()) == 2
    assert restored.previews.has(SHA256)
