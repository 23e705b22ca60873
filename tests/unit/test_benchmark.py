"""The benchmark: it measures what it says, side by side, and no time is judged here."""

import io
import json
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops
from rich.console import Console
from typer.testing import CliRunner

from benchmarks import backends, files
from benchmarks.__main__ import app
from benchmarks.backends import PIPELINE, compared, names
from benchmarks.table import show
from nsfw_app.records import Policy
from nsfw_app.settings import environment
from nsfw_app.system import Cpu
from tests.support.server import ROOT
from tests.support.tiny_vit import trained

SMALL = "--seconds 0.05 --classified 2 --uploaded 2 --megapixels 0.2".split()
CHOSEN = (PIPELINE, "torch", "onnx")
POLICY = Policy(threshold=0.5, review_from=0.2, review_to=0.8)
OLD = Cpu("an old CPU", 2, frozenset({"avx2"}))
NEW = Cpu("a new CPU", 2, frozenset({"avx2", "avx512_vnni", "avx512_bf16"}))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the command prints for the tiny model, as a user would run it."""
    model = trained(tmp_path_factory)
    chosen = [part for engine in CHOSEN for part in ("--engine", engine)]
    command = [sys.executable, "-m", "benchmarks", "--json", "--model", str(model)]
    done = subprocess.run(
        [*command, *chosen, *SMALL],
        cwd=ROOT,
        env=environment(NSFW_THREADS="1"),  # more would wait for each other over so small a model
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


def test_every_engine_is_measured_beside_the_pipeline(results: dict[str, Any]) -> None:
    """Speed, times, memory and differences of each, and how it compares."""
    measured = results["engines"]
    assert tuple(measured) == CHOSEN
    for numbers in measured.values():
        assert 0 < numbers["p50_ms"] <= numbers["p95_ms"]
        assert numbers["images_per_s"] > 0
        assert numbers["peak_rss_mb"] > 50
        assert numbers["largest_difference"] >= numbers["mean_difference"] >= 0
        assert numbers["times_the_pipeline"] == pytest.approx(
            numbers["images_per_s"] / measured[PIPELINE]["images_per_s"], abs=0.006
        )
    assert measured["torch"]["largest_difference"] == 0
    assert measured[PIPELINE]["largest_difference"] < 1e-4


def test_the_machine_and_the_model_are_named(results: dict[str, Any]) -> None:
    """Without them no number means anything."""
    machine, model = results["machine"], results["model"]
    assert machine["cpu"]
    assert machine["usable_cpus"] > 0
    assert machine["libraries"]["torch"].startswith("2.13")
    assert all(peak > 0 for peak in machine["matmul_peak_gops"].values())
    assert model["name"].endswith("tiny-vit")
    assert len(model["weights_sha256"]) == 64


def test_files_page_and_api_are_measured(results: dict[str, Any]) -> None:
    """From file to score, the same bytes again, a folder, the page's start, and a request."""
    (sizes,) = results["file_to_score"].values()
    assert sizes["0.2"]["same_bytes_p50_ms"] < sizes["0.2"]["p50_ms"]
    folder = results["classify_12_megapixels"]
    assert folder["files"] == 2
    assert min(folder["images_per_s"], folder["package_images_per_s"]) > 0
    assert 0 < results["page"]["first_byte_s"] <= results["page"]["model_ready_s"]
    assert results["page"]["idle_rss_mb"] <= results["gallery_12_megapixels"]["peak_rss_mb"]
    assert 0 < results["api"]["same_bytes_p50_ms"] <= results["api"]["new_image_p95_ms"]


def test_the_same_as_tables(results: dict[str, Any]) -> None:
    """Every engine has its line, with its numbers."""
    output = io.StringIO()
    show(results, Console(file=output, width=200))
    text = output.getvalue()
    lines = {
        cells[1].strip(): cells for line in text.splitlines() if (cells := line.split("│"))[1:]
    }
    for engine, numbers in results["engines"].items():
        assert str(numbers["images_per_s"]) in lines[engine][2]
    for title in ("Machine", "classify 12 megapixels", "page", "api"):
        assert title in text


def test_ratios_and_differences() -> None:
    """Against the pipeline, against the peak, and of scores against the same model's in 32 bits."""
    measured = {
        "pipeline": {"images_per_s": 4.0, "scores": [0.1, 0.6]},
        "torch": {"images_per_s": 5.0, "scores": [0.1, 0.6]},
        "openvino-int8": {"images_per_s": 20.0, "scores": [0.2, 0.4]},
        "open-nsfw": {"images_per_s": 100.0, "scores": [0.3, 0.3]},
        "open-nsfw-exact": {"images_per_s": 50.0, "scores": [0.1, 0.3]},
    }
    found = compared(measured, {"fp32": 100, "bf16": 200, "int8": 1000}, 10.0, NEW, POLICY)
    assert found["openvino-int8"] == {
        "images_per_s": 20.0,
        "times_the_pipeline": 5.0,
        "multiplies": "int8",
        "share_of_peak": 0.2,
        "largest_difference": 0.2,
        "mean_difference": 0.15,
        "changed_labels": 0.5,
        "changed_actions": 0.5,
    }
    assert found["torch"]["share_of_peak"] == 0.5
    assert found["open-nsfw"] == {
        "images_per_s": 100.0,
        "times_the_pipeline": 25.0,
        "largest_difference": pytest.approx(0.2),
        "mean_difference": pytest.approx(0.1),
        "changed_labels": 0.0,
        "changed_actions": 0.5,
    }


def test_what_a_cpu_can_run() -> None:
    """16-bit floats only where it multiplies them; the rest everywhere."""
    assert set(names(NEW)) - set(names(OLD)) == {"torch-bf16"}
    assert names(OLD)[0] == PIPELINE
    assert backends._numbers_of("openvino", OLD) == "fp32"
    assert backends._numbers_of("openvino", NEW) == "bf16"


def test_files_that_differ_in_nothing_that_is_seen() -> None:
    """A number makes another file of the same pixels."""
    first = next(files.jpegs(0.05))
    other = files.numbered(first, 77)
    assert first != other
    pictures = [Image.open(io.BytesIO(data)) for data in (first, other)]
    assert ImageChops.difference(*pictures).getbbox() is None
    width, height = pictures[0].size
    assert width * height == pytest.approx(50_000, rel=0.02)


def test_endless_photographs_are_all_different() -> None:
    """Also when there are more than packages ship."""
    made = list(islice(files.jpegs(0.05), 40))
    assert len(set(made)) == 40


def test_an_engine_that_is_not_there() -> None:
    """Wrong usage is told before anything is measured."""
    done = CliRunner().invoke(app, ["--engine", "abacus"])
    assert done.exit_code == 2
    assert "abacus" in done.stderr
    assert "openvino-int8" in done.stderr


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    """A model asked for by name is that model or an error."""
    done = CliRunner().invoke(app, ["--model", str(tmp_path), *SMALL])
    assert done.exit_code == 1
