"""The part files of a scan are read by the libraries that people use."""

from pathlib import Path

import pytest

from tests.support.fakes import image_bytes
from tests.support.scans import scan


@pytest.fixture
def pattern(tmp_path: Path) -> str:
    """The part files of a scan of ten images and a file that is none."""
    source = tmp_path / "source"
    source.mkdir()
    for red in range(0, 250, 25):
        (source / f"{red:03}.jpg").write_bytes(image_bytes(red))  # a PNG, so that it has a warning
    (source / "bad.png").write_bytes(b"<html>")
    scan(source, tmp_path / "out")
    return str(tmp_path / "out" / "images" / "part-*.parquet")


def test_pandas_polars_duckdb_and_datasets_read_them(pattern: str, tmp_path: Path) -> None:
    """All rows, with nested probabilities, warnings and times, and the same mean score."""
    import datasets
    import duckdb
    import pandas as pd
    import polars as pl

    expected = sum(range(0, 250, 25)) / 255 / 10
    frame = pd.read_parquet(Path(pattern).parent)
    assert len(frame) == 11
    assert frame["nsfw_score"].mean() == pytest.approx(expected)
    assert frame["error_kind"].dropna().tolist() == ["not_an_image"]
    assert str(frame["scanned_at"].dtype) == "datetime64[ms, UTC]"

    table = pl.read_parquet(pattern)
    assert table["probabilities"].struct.field("nsfw").mean() == pytest.approx(expected)
    assert table["warnings"].list.len().sum() == 10

    (found,) = duckdb.sql(
        f"select count(*), avg(probabilities.nsfw), count(error_kind), max(warnings[1].code) "
        f"from '{pattern}'"
    ).fetchall()
    assert found == (11, pytest.approx(expected), 1, "extension")

    loaded = datasets.load_dataset(
        "parquet", data_files=pattern, split="train", cache_dir=str(tmp_path / "cache")
    )
    scores = [score for score in loaded["nsfw_score"] if score is not None]
    assert (len(loaded), sum(scores) / 10) == (11, pytest.approx(expected))
    assert loaded.features["uri"].dtype == "string"
