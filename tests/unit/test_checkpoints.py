"""Models that cannot be loaded: each fault is a typed error that says what to do."""

import json
import logging
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from types import ModuleType
from typing import Any

import pytest
import torch
from fastapi import FastAPI
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from nsfw_app import settings
from nsfw_app.bootstrap import open_engine, open_store
from nsfw_app.cli import app
from nsfw_app.errors import ModelDamaged, ModelError, ModelLibraryMissing, ModelUnsupported
from nsfw_app.models import checkpoints
from nsfw_app.models.backends import pytorch
from nsfw_app.models.cards import display_name
from nsfw_app.models.checkpoints import load_error, unsafe_labels_of
from nsfw_app.models.hub import find
from nsfw_app.models.loader import ModelState, load_classifier
from nsfw_app.records import LabelRole, Upload
from nsfw_app.ui.model import model_facts
from nsfw_app.web.monitoring import Monitor, health_routes
from tests.support.server import ROOT
from tests.support.tiny_vit import tinted_image, trained

Change = Callable[[Path], object]
TIMM = {
    "architecture": "vit_tiny_patch16_224",
    "num_classes": 2,
    "label_names": ["NSFW", "SFW"],
    "pretrained_cfg": {"input_size": [3, 224, 224], "num_classes": 2},
}  # as timm writes for Marqo/nsfw-image-detection-384
CODE = {"AutoConfig": "code.Config", "AutoModelForImageClassification": "code.Model"}


class RunsCode:
    """An object whose pickle writes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        """The call that unpickling makes."""
        return Path.write_text, (self.path, "executed")


def config(**changes: object) -> Change:
    """A fault that changes entries of config.json; None removes one."""

    def change(directory: Path) -> None:
        path = directory / "config.json"
        values = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({k: v for k, v in values.items() if v is not None}))

    return change


def written(name: str, content: bytes) -> Change:
    """A fault that writes a file."""
    return lambda directory: (directory / name).write_bytes(content)


def processor(**values: object) -> Change:
    """A fault that writes another preprocessor_config.json."""
    return written("preprocessor_config.json", json.dumps(values).encode())


def header(change: Callable[[dict[str, Any]], object]) -> Change:
    """A fault that changes the header of the safetensors file, which lists its tensors."""

    def rewritten(directory: Path) -> None:
        path = directory / "model.safetensors"
        data = path.read_bytes()
        (size,) = struct.unpack("<Q", data[:8])
        values = json.loads(data[8 : 8 + size])
        change(values)
        text = json.dumps(values).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])

    return rewritten


def claims_more(values: dict[str, Any]) -> None:
    """Give the first tensor the size of a terabyte."""
    name = next(name for name in values if name != "__metadata__")
    values[name]["shape"] = [10**6, 10**6]


def as_pickle(content: Callable[[Path], bytes]) -> Change:
    """A fault that replaces the weights by a pickle."""

    def change(directory: Path) -> None:
        (directory / "model.safetensors").unlink()
        (directory / "pytorch_model.bin").write_bytes(content(directory))

    return change


def torch_file(directory: Path) -> bytes:
    """A torch file with an object that runs code."""
    path = directory / "code.bin"
    torch.save({"a": RunsCode(directory / "ran")}, path)
    return path.read_bytes()


def not_numbers(directory: Path) -> None:
    """Set weights to NaN."""
    from safetensors.torch import load_file, save_file

    path = directory / "model.safetensors"
    weights = load_file(path)
    weights["classifier.weight"][:] = float("nan")
    save_file(weights, path, metadata={"format": "pt"})


def as_timm(directory: Path) -> None:
    """Replace the files by those that timm saves: its own configuration, no image processor."""
    (directory / "config.json").write_text(json.dumps(TIMM))
    (directory / "preprocessor_config.json").unlink()


DAMAGED, UNSUPPORTED = "model_damaged", "model_unsupported"
FAULTS: dict[str, tuple[Change, str, str]] = {
    "weights cut short": (
        lambda d: (d / "model.safetensors").write_bytes(
            (d / "model.safetensors").read_bytes()[:-100]
        ),
        DAMAGED,
        r"The weights of 'model' are damaged\. Download or save the model again\.",
    ),
    "unsafe labels that it lacks": (
        config(nsfw_review_unsafe_labels=["blood"]),
        DAMAGED,
        r"nsfw_review_unsafe_labels in the config.json of 'model' is not a list of labels of the",
    ),
    "unsafe labels that are no list": (
        config(nsfw_review_unsafe_labels={"nsfw": 1}),
        DAMAGED,
        "is not a list of labels",
    ),
    "no weights": (written("model.safetensors", b""), DAMAGED, "Download or save"),
    "no tensors": (written("model.safetensors", b"not a tensor " * 9), DAMAGED, "Download or save"),
    "header claims more": (header(claims_more), DAMAGED, "Download or save"),
    "endless header": (
        written("model.safetensors", struct.pack("<Q", 2**62) + b"{}"),
        DAMAGED,
        "Download or save",
    ),
    "index only": (
        lambda d: (
            (d / "model.safetensors").unlink(),
            (d / "model.safetensors.index.json").write_bytes(b'{"weigh'),
        ),
        "model_not_found",
        "does not list the model's weight files",
    ),
    "not numbers": (not_numbers, DAMAGED, "returns no numbers for a test image"),
    "pickle that runs code": (as_pickle(torch_file), UNSUPPORTED, "Convert them to safetensors"),
    "plain pickle": (
        as_pickle(lambda d: pickle.dumps(RunsCode(d / "ran"))),
        UNSUPPORTED,
        "would run code",
    ),
    "pickle of nothing": (as_pickle(lambda d: b"no"), UNSUPPORTED, "Convert them to safetensors"),
    "config cut short": (
        written("config.json", b'{"model_type": "v'),
        DAMAGED,
        r"config\.json of 'model' cannot be read as JSON",
    ),
    "config is a list": (written("config.json", b"[]"), DAMAGED, "is not a JSON object"),
    "config is not text": (written("config.json", b"\xff\xfe"), DAMAGED, "cannot be read as JSON"),
    "another task": (
        config(model_type="bert"),
        UNSUPPORTED,
        "is a 'bert', not an image classifier. Choose another NSFW_MODEL",
    ),
    "unknown kind": (
        config(model_type="mystery"),
        UNSUPPORTED,
        r"is a 'mystery', which transformers .* does not know",
    ),
    "no kind": (config(model_type=None), UNSUPPORTED, "names no model_type"),
    "own code": (
        config(model_type="mystery", auto_map=CODE),
        UNSUPPORTED,
        "needs code of its own to run, which is never executed",
    ),
    "no image processor": (
        lambda d: (d / "preprocessor_config.json").unlink(),
        DAMAGED,
        "has no preprocessor_config.json",
    ),
    "image processor cut short": (
        written("preprocessor_config.json", b"{"),
        DAMAGED,
        r"preprocessor_config\.json of 'model' cannot be read as JSON",
    ),
    "unknown image processor": (
        processor(image_processor_type="MysteryProcessor"),
        "model_load_failed",
        "See the log",
    ),
    "image processor's own code": (
        processor(image_processor_type="MysteryProcessor", auto_map={"AutoImageProcessor": "c.P"}),
        "model_load_failed",
        "See the log",
    ),
    "image processor of another size": (
        processor(image_processor_type="ViTImageProcessor", size={"height": 48, "width": 48}),
        UNSUPPORTED,
        r"fails on a test image: Input image size \(48\*48\).*preprocessor_config\.json",
    ),
    "more labels than outputs": (
        config(id2label={"0": "normal", "1": "nsfw", "2": "safe"}, label2id=None),
        DAMAGED,
        "have 2 outputs, but its config.json names 3 labels. Correct id2label",
    ),
    "labels with a gap": (
        config(id2label={"0": "normal", "2": "nsfw"}, label2id=None),
        DAMAGED,
        "numbers its labels 0, 2; they must be numbered from 0",
    ),
    "list of labels": (config(id2label=["normal", "nsfw"]), "model_load_failed", "See the log"),
    "another size": (
        config(hidden_size=64),
        DAMAGED,
        "do not have the shapes that its config.json describes",
    ),
    "unknown activation": (config(hidden_act="nonsense"), "model_load_failed", "See the log"),
    "patches of nothing": (config(patch_size=0), "model_load_failed", r"\(ZeroDivisionError\)"),
    "size as text": (config(hidden_size="many"), "model_load_failed", "See the log"),
    "a timm model": (
        as_timm,
        "model_library_missing",
        r"needs timm and torchvision: pip install 'nsfw-review\[timm\]'",
    ),
}


@pytest.fixture
def directory(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Path:
    """A copy of the trained model that a test may change."""
    return copytree(trained(tmp_path_factory), tmp_path / "model")


@pytest.fixture
def without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Timm cannot be imported, even if it is installed."""
    monkeypatch.setitem(sys.modules, "timm", None)


def load(directory: Path) -> Any:
    """Load the model of a directory."""
    return load_classifier(
        str(directory), revision="main", unsafe_labels=(), threads=1, max_waiting=9
    ).classifier


@pytest.mark.usefixtures("without_timm")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_model_that_cannot_be_loaded(
    fault: str, directory: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture
) -> None:
    """One error with a kind and a sentence about the model; no code in the checkpoint has run."""
    change, kind, sentence = FAULTS[fault]
    change(directory)
    caplog.set_level(logging.DEBUG, "nsfw_app")
    with pytest.raises(ModelError, match=sentence) as caught:
        load(directory)
    assert caught.value.kind == kind
    message = str(caught.value)
    assert "'model'" in message
    assert str(directory) not in message, "paths of the server are private"
    assert "\n" not in message
    assert message.endswith((".", "again.", "labels."))
    assert not (directory / "ran").exists()
    assert "Do you wish to run" not in capsys.readouterr().out
    ours = [record for record in caplog.records if record.name.startswith("nsfw_app")]
    for record in ours:
        assert "\n" not in record.getMessage()
    if kind == "model_load_failed":
        assert any(record.exc_info for record in ours)
        assert any(record.levelno == logging.ERROR for record in ours)


def test_a_command_prints_one_sentence(directory: Path, tmp_path: Path) -> None:
    """It says what is wrong and what to do; the traceback is not printed."""
    (directory / "model.safetensors").write_bytes(b"")
    done = subprocess.run(
        [sys.executable, "-m", "nsfw_app", "classify", __file__],
        env=settings.environment(NSFW_MODEL=str(directory), NSFW_DATA_DIR=str(tmp_path / "data")),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == (
        "Error: The weights of 'model' are damaged. Download or save the model again.\n"
    )
    assert (done.returncode, done.stdout) == (1, "")


def test_code_in_a_checkpoint_is_not_imported(directory: Path) -> None:
    """A known model type is computed by transformers' code, not by the directory's."""
    (directory / "code.py").write_text("raise SystemExit('executed')")
    config(auto_map={"AutoModelForImageClassification": "code.Model"})(directory)
    assert 0 <= load(directory).predict([tinted_image(0.5)])[0]["nsfw"] <= 1


@pytest.mark.parametrize("package", ["timm", "torchvision"])
@pytest.mark.parametrize("error", [ImportError("none"), RuntimeError("operator does not exist")])
def test_a_library_that_cannot_be_imported(
    package: str, error: Exception, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing package, or one built for another torch, is a typed error."""
    as_timm(directory)

    def imported(name: str) -> ModuleType:
        if name == package:
            raise error
        return ModuleType(name)

    monkeypatch.setattr(checkpoints, "import_module", imported)
    with pytest.raises(ModelLibraryMissing, match=f"timm.* {package} cannot be imported here"):
        load(directory)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("[enforce fail] out of memory")])
def test_out_of_memory(directory: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """A model that does not fit into memory is a typed error."""

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(pytorch.AutoModelForImageClassification, "from_pretrained", fail)
    with pytest.raises(ModelError, match="does not fit into this machine's memory") as caught:
        load(directory)
    assert caught.value.kind == "no_memory"


LABELS = ["normal", "nsfw"]


def unsafe_in(directory: Path) -> set[str]:
    """The unsafe labels of a loaded model."""
    roles = load(directory).roles
    return {label for label, role in roles.items() if role is LabelRole.UNSAFE}


def test_a_directory_may_name_its_unsafe_labels(directory: Path) -> None:
    """As `train` writes them; the labels need no known words. The revision depends on them."""
    config(id2label={"0": "high", "1": "neutral"}, label2id=None)(directory)
    with pytest.raises(ModelError, match="It is not known"):
        load(directory)
    config(nsfw_review_unsafe_labels=["high"])(directory)
    revision = load(directory).identity.revision
    assert unsafe_in(directory) == {"high"}
    config(nsfw_review_unsafe_labels=["neutral"])(directory)
    assert unsafe_in(directory) == {"neutral"}
    assert load(directory).identity.revision != revision


def test_a_directory_cannot_turn_a_label_safe(directory: Path) -> None:
    """Whose word is an unsafe one; the setting can, and comes first."""
    config(nsfw_review_unsafe_labels=["normal"])(directory)
    with pytest.raises(ModelUnsupported, match=r"says that the label 'nsfw' is safe\. Set"):
        load(directory)
    files = find(str(directory), revision="main")
    assert unsafe_labels_of("model", files, ("nsfw",), LABELS) == ("nsfw",)


@pytest.mark.parametrize(
    "numbers", [("+0", "+1"), (" 0", "1 "), ("0_0", "0_1"), ("٠", "١")], ids=range(4)
)
def test_labels_are_those_of_the_loaded_model(directory: Path, numbers: tuple[str, str]) -> None:
    """However the configuration writes their numbers, which transformers takes for 0 and 1."""
    porn, lewd = numbers
    config(
        id2label={porn: "porn", lewd: "lewd"}, label2id=None, nsfw_review_unsafe_labels=["lewd"]
    )(directory)
    with pytest.raises(ModelUnsupported, match=r"says that the label 'porn' is safe"):
        load(directory)


@pytest.mark.parametrize("labels", [[1], ["lewd"], [["nsfw"]], "nsfw", {"nsfw": 1}, [None]])
@pytest.mark.parametrize("named", [True, False])
def test_unsafe_labels_that_are_none_are_an_error(
    directory: Path, labels: Any, named: bool
) -> None:
    """Also where the configuration leaves the names of its labels out."""
    config(nsfw_review_unsafe_labels=labels, **({} if named else {"id2label": None}))(directory)
    with pytest.raises(ModelDamaged, match="is not a list of labels of the model"):
        load(directory)


def test_a_model_of_the_hub_names_no_unsafe_labels(directory: Path) -> None:
    """What its owner claims is not taken, also if it claims what `train` writes."""
    config(nsfw_review_unsafe_labels=["normal"])(directory)
    files = replace(find(str(directory), revision="main"), revision="0123")
    assert unsafe_labels_of("owner/name", files, (), LABELS) == ()


def test_names_for_messages(tmp_path: Path) -> None:
    """A hub id is shown in full, of a directory only its name."""
    (tmp_path / "mine").mkdir()
    assert display_name("owner/name") == "owner/name"
    assert display_name(str(tmp_path / "mine")) == "mine"
    assert display_name("/nowhere/else") == "else"
    assert str(load_error("owner/name", OSError("no"))).startswith("'owner/name' could not")


@pytest.mark.usefixtures("without_timm")
def test_page_api_and_commands_show_the_same_sentence(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Model tab, a review, `/readyz` and commands."""
    as_timm(directory)
    monkeypatch.setenv("NSFW_MODEL", str(directory))
    monkeypatch.setenv("NSFW_DATA_DIR", str(tmp_path / "data"))
    sentence = "'model' needs timm and torchvision: pip install 'nsfw-review[timm]'."
    chosen = settings.load()
    engine = open_engine(chosen, open_store(chosen))
    assert engine.wait().state is ModelState.FAILED
    (facts,) = model_facts(engine)
    assert dict(facts["rows"])["Message"].startswith(sentence)
    review = engine.review(b"x", Upload("a.jpg", "gallery"))
    assert review.problem is not None
    assert (review.problem.kind, review.verdict.action) == ("model_library_missing", "unavailable")
    web = FastAPI()
    web.include_router(health_routes(engine, Monitor(engine)))
    response = TestClient(web).get("/readyz")
    assert response.status_code == 503
    assert response.json()["error"]["kind"] == "model_library_missing"
    assert response.json()["error"]["message"].startswith(sentence)
    for command in (["classify", __file__], ["optimize"]):
        done = CliRunner().invoke(app, command)
        assert isinstance(done.exception, ModelLibraryMissing)
        assert str(done.exception).startswith(sentence)
