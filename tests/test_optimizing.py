"""Making a faster network: its files and report are real, and what differs too much is not kept."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
from faster import POLICY, folder_of_pictures, loaded, made, make
from tiny_vit import trained
from typer.testing import CliRunner

from nsfw_app import machine, optimizing, photographs
from nsfw_app.classifiers import artefacts, nsfw_score
from nsfw_app.classifiers.artefacts import FILES, Artefact, Format, Origin
from nsfw_app.cli import app
from nsfw_app.errors import ModelUnsupported
from nsfw_app.machine import Cpu
from nsfw_app.optimizing import best_format
from nsfw_app.records import LabelRole, Policy
from nsfw_app.verification import compare


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained model's directory."""
    return trained(tmp_path_factory)


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every format of it."""
    return made(tmp_path_factory)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures whose scores spread over [0, 1]; the formats were made with the same."""
    return folder_of_pictures(tmp_path_factory.mktemp("images"))


def scores(vit: Path, engines: Path, wanted: str, images: Path) -> list[float]:
    """What a backend says of the pictures of a folder, each asked for by itself."""
    classifier = loaded(vit, engines, wanted)
    pictures = photographs.of_folder(images)
    return [nsfw_score(classifier.predict([p])[0], classifier.roles) for p in pictures]


def artefact(engines: Path, kind: str) -> Artefact:
    """The one of a format."""
    (directory,) = engines.glob(f"*/*/{kind}/*")
    found = artefacts.read(directory)
    assert found is not None
    return found


@pytest.mark.parametrize("kind", FILES)
def test_the_report_is_what_the_networks_say(
    vit: Path, engines: Path, images: Path, kind: Format
) -> None:
    """Loaded again by name, both networks differ by as much as the stored report says."""
    original = scores(vit, engines, "torch", images)
    faster = scores(vit, engines, kind, images)
    report, again = artefact(engines, kind).report(POLICY), compare(original, faster, POLICY)
    assert report.images == again.images == len(original)
    for name in ("largest_difference", "mean_difference", "changed_labels", "changed_actions"):
        assert getattr(report, name) == pytest.approx(getattr(again, name), abs=1e-6)


@pytest.mark.parametrize(("kind", "most"), [("onnx", 1e-5), ("openvino", 0.01)])
def test_floats_give_the_same_scores(
    vit: Path, engines: Path, images: Path, kind: str, most: float
) -> None:
    """In 32-bit floats scores are the same; in 16-bit ones, where the CPU has them, nearly."""
    difference = np.subtract(scores(vit, engines, "torch", images),
                             scores(vit, engines, kind, images))  # fmt: skip
    assert np.abs(difference).max() < most


@pytest.mark.parametrize("kind", ["openvino-int8", "onnx-int8"])
def test_integers_are_really_smaller(engines: Path, kind: str) -> None:
    """8-bit weights take less room than the same weights in 32 bits."""

    def size(name: str) -> int:
        directory = artefact(engines, name).directory
        return sum(path.stat().st_size for path in directory.glob("model*"))

    assert size(kind) < size(kind.removesuffix("-int8"))


@pytest.mark.parametrize("kind", FILES)
def test_it_says_what_it_was_made_of(vit: Path, engines: Path, kind: Format) -> None:
    """Model, weights, labels, preprocessing, CPU and library stand beside the files."""
    path = artefact(engines, kind).file("artefact.json")
    values = json.loads(path.read_text())["artefact"]
    digest = artefacts.weights_sha256([vit / "model.safetensors"])
    assert (values["origin"]["model"], values["origin"]["weights_sha256"]) == (str(vit), digest)
    assert values["roles"] == {"normal": "safe", "nsfw": "unsafe"}
    assert (values["preprocessing"]["width"], values["preprocessing"]["mean"]) == (32, [0.5] * 3)
    assert values["cpu_features"] == sorted(machine.cpu().features)
    assert values["runtime_version"] == version(kind.runtime)
    assert values["images_per_s"] > 0


def test_nothing_else_is_left_behind(engines: Path) -> None:
    """What files were written to before they were whole is gone."""
    (revision,) = engines.glob("*/*")
    assert {path.name for path in revision.iterdir()} == set(FILES)
    assert all(len(list(builds.iterdir())) == 1 for builds in revision.iterdir())


def between(vit: Path, engines: Path, images: Path, kind: str) -> Policy:
    """A policy under which at least one picture's label differs between torch and a format."""
    original = scores(vit, engines, "torch", images)
    faster = scores(vit, engines, kind, images)
    low, high = max(
        map(sorted, zip(original, faster, strict=True)), key=lambda pair: pair[1] - pair[0]
    )
    middle = (low + high) / 2
    return Policy(threshold=middle, review_from=min(0.2, middle), review_to=max(0.8, middle))


def test_too_many_changed_labels_are_refused(
    vit: Path, engines: Path, images: Path, tmp_path: Path
) -> None:
    """One label of sixty changes: nothing is kept, and the sentence says how much changed."""
    policy = between(vit, engines, images, "openvino-int8")
    with pytest.raises(ModelUnsupported, match=r"not kept.*of labels.*--force"):
        make(vit, Format.OPENVINO_INT8, tmp_path / "e", images=images, policy=policy)
    assert list((tmp_path / "e").rglob("*.*")) == []


def test_a_processor_that_does_more_than_it_says_is_refused(
    vit: Path, images: Path, tmp_path: Path
) -> None:
    """LeViT's enlarges by 256 / 224 before it crops, which stands nowhere in its configuration."""
    from transformers import LevitImageProcessorPil

    model = copytree(vit, tmp_path / "model")
    size = {"height": 32, "width": 32}
    LevitImageProcessorPil(size={"shortest_edge": 32}, crop_size=size).save_pretrained(model)
    with pytest.raises(ModelUnsupported, match="cannot be recorded"):
        make(model, Format.ONNX, tmp_path / "e", images=images)
    assert list((tmp_path / "e").rglob("*.*")) == []


def test_forced_it_is_kept_for_who_asks_by_name(
    vit: Path, engines: Path, images: Path, tmp_path: Path
) -> None:
    """`auto` does not take what failed; its name does."""
    policy = between(vit, engines, images, "openvino-int8")
    kept = make(
        vit, Format.OPENVINO_INT8, tmp_path, images=images, policy=policy, force=True
    )  # fmt: skip
    assert not kept.trusted(policy)
    for wanted, backend in (("auto", "torch"), ("openvino-int8", "openvino-int8-forced")):
        classifier = loaded(vit, tmp_path, wanted, policy)
        assert classifier.identity.backend.startswith(backend)


def test_what_passed_needs_no_force(vit: Path, images: Path, tmp_path: Path) -> None:
    """A network that passes is trusted, also when force was given needlessly."""
    kept = make(vit, Format.ONNX, tmp_path, images=images, force=True)
    assert kept.trusted(POLICY)
    assert kept.backend(POLICY) == "onnx"


def test_a_failure_leaves_what_was_there(
    vit: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Making it again and failing half-way keeps the earlier one, whole."""
    kept = make(vit, Format.ONNX, tmp_path, images=images)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def broken(*_: Any) -> None:
        raise RuntimeError("the power went")

    monkeypatch.setattr(optimizing, "nsfw_scores", broken)
    with pytest.raises(RuntimeError, match="the power went"):
        make(vit, Format.ONNX, tmp_path, images=images)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    kept.check()


def test_made_again_it_takes_the_place_of_the_first(
    vit: Path, images: Path, tmp_path: Path
) -> None:
    """There is one of each format; the newer one stays."""
    first = make(vit, Format.ONNX, tmp_path, images=images)
    (images / "000.png").rename(images / "000.not")
    second = make(vit, Format.ONNX, tmp_path, images=images)
    (images / "000.not").rename(images / "000.png")
    assert second.report(POLICY).images == first.report(POLICY).images - 1
    assert list(second.directory.parent.iterdir()) == [second.directory]


def test_two_at_once_leave_one_whole(tmp_path: Path) -> None:
    """Whoever ends last stays; nobody fails, and a reader always finds a whole one."""
    origin = Origin("m", "r", "w")
    builds = artefacts.place(tmp_path, origin, Format.ONNX)

    def write(number: int) -> None:
        with artefacts.writing(builds) as directory:
            (directory / "model.onnx").write_text(str(number))
            made = Artefact.made_here(directory, Format.ONNX, origin, {"nsfw": LabelRole.UNSAFE})
            artefacts.describe(directory, replace(made, images_per_s=number))

    write(0)
    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write, number) for number in range(1, 100)]
        while not all(writer.done() for writer in writers):
            assert list(builds.glob("[0-9]*"))
        for writer in writers:
            writer.result()
    write(100)
    (left,) = builds.iterdir()
    kept = artefacts.latest_of(tmp_path, origin, Format.ONNX)
    assert kept is not None
    kept.check()
    assert (kept.directory, kept.images_per_s) == (left, 100)


@pytest.mark.parametrize(
    ("features", "best"),
    [
        ({"avx2"}, Format.OPENVINO),
        ({"avx2", "avx512f"}, Format.OPENVINO),
        ({"avx2", "avx_vnni"}, Format.OPENVINO_INT8),
        ({"avx512f", "avx512_vnni"}, Format.OPENVINO_INT8),
        ({"asimd", "i8mm"}, Format.OPENVINO_INT8),
        (set(), Format.OPENVINO),
    ],
)
def test_the_best_format_of_a_cpu(features: set[str], best: Format) -> None:
    """8-bit integers are fastest only where they are multiplied by one instruction."""
    assert best_format(Cpu("a CPU", 2, frozenset(features))) is best


def test_the_command(vit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It prints where the network lies; the settings' model and the shipped photographs."""
    monkeypatch.setenv("NSFW_MODEL", str(vit))
    monkeypatch.setenv("NSFW_DATA_DIR", str(tmp_path))
    done = CliRunner().invoke(app, ["optimize", "--format", "onnx"])
    assert done.exit_code == 0, done.output
    directory = Path(done.stdout.strip().splitlines()[-1])
    kept = artefacts.read(directory)
    assert kept is not None
    assert kept.report(POLICY).images == len(photographs.shipped())
    assert "of labels" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "open-nsfw"], "The embedded model"),
        (["--format", "torch-bf16"], "has no files to make"),
        (["--format", "gguf"], "gguf"),
        (["--images", "nowhere"], "nowhere"),
    ],
)
def test_the_command_refuses(arguments: list[str], message: str) -> None:
    """Wrong usage is said before anything is loaded."""
    done = CliRunner().invoke(app, ["optimize", *arguments])
    assert done.exit_code == 2
    assert message in done.stderr
