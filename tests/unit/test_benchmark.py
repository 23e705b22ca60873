"""The benchmark suite measures what it prints; no speed is asserted."""

import io
import json
import subprocess
import sys
from itertools import islice
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from PIL import Image, ImageChops
from rich.console import Console
from typer.testing import CliRunner

from benchmarks import backends, files
from benchmarks.__main__ import app
from benchmarks.backends import PIPELINE, names, with_ratios
from benchmarks.table import show
from nsfw_app.records import Policy
from nsfw_app.settings import environment
from nsfw_app.system import Cpu
from tests.support.server import ROOT
from tests.support.tiny_vit import trained

SMALL = "--seconds 0.05 --classified 2 --uploaded 2 --megapixels 0.2".split()
TIMEOUT_S = 120
CHOSEN = (PIPELINE, "torch")
ONE_ROUND = (
    "from benchmarks import suite; suite.ROUNDS = 1; from benchmarks.__main__ import app; app()"
)
POLICY = Policy(threshold=0.5, review_from=0.2, review_to=0.8)
OLD = Cpu("an old CPU", 2, frozenset({"avx2"}))
NEW = Cpu("a new CPU", 2, frozenset({"avx2", "avx512_vnni", "avx512_bf16"}))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The output of the command for the tiny model, in a process of its own."""
    model = trained(tmp_path_factory)
    # The second name is the option's name in version 0.1.
    options = zip(("--backend", "--engine"), CHOSEN, strict=True)
    chosen = [part for option in options for part in option]
    command = [sys.executable, "-c", ONE_ROUND, "--json", "--model", str(model)]
    done = subprocess.run(
        [*command, *chosen, *SMALL],
        cwd=ROOT,
        env=environment(NSFW_THREADS="1"),  # more threads would slow so small a model down
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


def test_every_backend_is_compared_with_the_pipeline(results: dict[str, Any]) -> None:
    """Each has speed, latency, memory, score differences and ratios."""
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
    """The results have CPU, libraries, peak and weights."""
    machine, model = results["machine"], results["model"]
    assert machine["cpu"]
    assert machine["usable_cpus"] > 0
    assert machine["libraries"]["torch"].startswith("2.13")
    assert all(peak > 0 for peak in machine["matmul_peak_gops"].values())
    assert model["name"].endswith("tiny-vit")
    assert len(model["weights_sha256"]) == 64


def test_files_page_and_api_are_measured(results: dict[str, Any]) -> None:
    """File to score, known bytes, a folder, the start of the page, and a request."""
    (sizes,) = results["file_to_score"].values()
    assert sizes["0.2"]["same_bytes_p50_ms"] < sizes["0.2"]["p50_ms"]
    folder = results["classify_12_megapixels"]
    assert folder["files"] == 2
    assert min(folder["images_per_s"], folder["package_images_per_s"]) > 0
    assert 0 < results["page"]["first_byte_s"] <= results["page"]["model_ready_s"]
    assert results["page"]["idle_rss_mb"] <= results["gallery_12_megapixels"]["peak_rss_mb"]
    assert 0 < results["api"]["same_bytes_p50_ms"] <= results["api"]["new_image_p95_ms"]


def test_results_as_tables(results: dict[str, Any]) -> None:
    """Every backend has its row, with its numbers."""
    output = io.StringIO()
    show(results, Console(file=output, width=200))
    text = output.getvalue()
    lines = {
        cells[1].strip(): cells for line in text.splitlines() if (cells := line.split("│"))[1:]
    }
    for backend, numbers in results["engines"].items():
        assert str(numbers["images_per_s"]) in lines[backend][2]
    for title in ("Machine", "classify 12 megapixels", "page", "api"):
        assert title in text


def test_ratios_and_differences() -> None:
    """Ratios to the pipeline and the peak, and differences from the same model's fp32 scores."""
    measured = {
        "pipeline": {"images_per_s": 4.0, "scores": [0.1, 0.6]},
        "torch": {"images_per_s": 5.0, "scores": [0.1, 0.6]},
        "openvino-int8": {"images_per_s": 20.0, "scores": [0.2, 0.4]},
        "open-nsfw": {"images_per_s": 100.0, "scores": [0.3, 0.3]},
        "open-nsfw-exact": {"images_per_s": 50.0, "scores": [0.1, 0.3]},
    }
    found = with_ratios(measured, {"fp32": 100, "bf16": 200, "int8": 1000}, 10.0, NEW, POLICY)
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


def test_backends_of_a_cpu() -> None:
    """bf16 only where the CPU has instructions for it; the rest everywhere."""
    assert set(names(NEW)) - set(names(OLD)) == {"torch-bf16"}
    assert names(OLD)[0] == PIPELINE
    assert backends._precision_of("openvino", OLD) == "fp32"
    assert backends._precision_of("openvino", NEW) == "bf16"


def test_numbered_files_have_equal_pixels() -> None:
    """Another number changes the bytes and no pixel."""
    first = next(files.jpegs(0.05))
    other = files.numbered(first, 77)
    assert first != other
    images = [Image.open(io.BytesIO(data)) for data in (first, other)]
    assert ImageChops.difference(*images).getbbox() is None
    width, height = images[0].size
    assert width * height == pytest.approx(50_000, rel=0.02)


def test_generated_files_are_all_different() -> None:
    """Also beyond the number of images in the calibration set."""
    generated = list(islice(files.jpegs(0.05), 40))
    assert len(set(generated)) == 40


def test_an_unknown_backend() -> None:
    """Wrong usage is reported before anything is measured."""
    done = CliRunner().invoke(app, ["--backend", "abacus"])
    assert done.exit_code == 2
    assert "abacus" in done.stderr
    assert "openvino-int8" in done.stderr


def test_a_missing_model(tmp_path: Path) -> None:
    """A model requested by name is measured or is an error."""
    done = CliRunner().invoke(app, ["--model", str(tmp_path), *SMALL])
    assert done.exit_code == 1
    assert done.stderr.startswith(f"Error: '{tmp_path.name}' holds no complete model")


def test_a_model_that_cannot_be_loaded(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The suite ends before it measures anything, with the error of the model."""
    model = copytree(trained(tmp_path_factory), tmp_path / "model")
    (model / "model.safetensors").write_bytes(b"")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--model", str(model), "--backend", "torch", *SMALL],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "Measuring" not in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == (
        "Error: The weights of 'model' are damaged. Download or save the model again."
    )
