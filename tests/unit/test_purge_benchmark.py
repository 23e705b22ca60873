"""The benchmark of decisions during a purge, small."""

from pathlib import Path

import pytest

from benchmarks import purge


def test_every_preview_that_is_due_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decisions are timed alone and during the purge; previews of images that wait are kept."""
    monkeypatch.setattr(purge, "OPEN", 200)
    monkeypatch.setattr(purge, "ALONE_S", 0.2)
    purge.build(tmp_path, 300, 100)
    found = purge.measure(tmp_path, rate=50)
    assert found["previews_deleted"] >= 270
    assert found["previews_left"] >= 100
    for name in ("decisions_alone_ms", "decisions_during_the_purge_ms"):
        assert found[name]["decision"]["count"] > 0
        assert found[name]["bare_write"]["p50"] > 0
