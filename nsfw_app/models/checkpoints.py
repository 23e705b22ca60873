"""Checks of a model's files before they are loaded, and the errors of loading.

- Each failure is one `ModelError` whose sentence says what to do. The log has the cause in one
  line, and its traceback at level DEBUG.
- Code in a checkpoint is never executed.
"""

import json
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from safetensors import SafetensorError, safe_open

from nsfw_app.errors import (
    ModelDamaged,
    ModelError,
    ModelLibraryMissing,
    ModelLoadFailed,
    ModelOutOfMemory,
    ModelUnsupported,
    NSFWReviewError,
)
from nsfw_app.models.cards import display_name, role_of
from nsfw_app.models.hub import ModelFiles
from nsfw_app.models.known_models import normalized
from nsfw_app.records import LabelRole

log = logging.getLogger(__name__)

CONFIG, PROCESSOR_CONFIG = "config.json", "preprocessor_config.json"
UNSAFE_LABELS = "nsfw_review_unsafe_labels"  # in the configuration of a model that was trained here
TIMM_PACKAGES = ("timm", "torchvision")
HEAD = re.compile(r"(^|\.)(classifier|head|fc|head\.fc|classifier\.1)\.weight$")
# Messages of torch and the C++ runtimes about a failed allocation.
OUT_OF_MEMORY = re.compile(
    r"out of memory|not enough memory|can't allocate memory|bad_alloc", re.IGNORECASE
)
MAX_LISTED = 4  # values in a message
DOWNLOAD_AGAIN = "Download or save the model again."


@contextmanager
def load_errors(model: str) -> Iterator[None]:
    """Turn any exception that a library raises while it loads a model into one `ModelError`.

    Args:
        model: Its hub id or directory.
    """
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        log_cause(log, f"Loading '{model}' failed", error)
        raise load_error(model, error) from error


def log_cause(logger: logging.Logger, event: str, error: Exception) -> None:
    """Log an error with its traceback, which commands print with `--verbose` only."""
    logger.error("%s.", event, exc_info=error)


def load_error(model: str, error: Exception) -> ModelError:
    """The `ModelError` for an exception that a library raised while it loaded a model."""
    name, text = display_name(model), str(error)
    if isinstance(error, NSFWReviewError):
        return ModelLoadFailed(f"'{name}' could not be loaded: {text}")
    if isinstance(error, MemoryError) or OUT_OF_MEMORY.search(text):
        return ModelOutOfMemory(
            f"'{name}' does not fit into this machine's memory. Choose a smaller model with "
            "NSFW_MODEL, or give the process more memory."
        )
    if isinstance(error, ImportError):
        package = f" '{error.name}'" if error.name else ""
        return ModelLibraryMissing(
            f"'{name}' needs a package{package} that is not installed. Install it with pip; the "
            "log names it."
        )
    if isinstance(error, SafetensorError | EOFError):
        return ModelDamaged(f"The weights of '{name}' are damaged. {DOWNLOAD_AGAIN}")
    if isinstance(error, UnpicklingError):
        return ModelUnsupported(
            f"The weights of '{name}' are a pickle that is damaged or would run code when it is "
            "read, which is refused. Convert them to safetensors."
        )
    return ModelLoadFailed(
        f"'{name}' could not be loaded ({type(error).__name__}). See the log; check that its files "
        "are complete and fit this version of transformers, or choose another NSFW_MODEL."
    )


def check_checkpoint(model: str, files: ModelFiles) -> None:
    """Check that a model's files describe an image classifier that can be loaded here.

    Args:
        model: Its hub id or directory.
        files: Its files on this disk.

    Raises:
        ModelDamaged: A file cannot be read.
        ModelUnsupported: It is a model for another task, or of an unknown type.
        ModelLibraryMissing: timm or torchvision cannot be imported, and it needs them.
    """
    name = display_name(model)
    config = _json_object(files.directory / CONFIG, name)
    if is_timm(config):
        _check_timm(name)
        return
    _check_task(name, config)
    processor = files.directory / PROCESSOR_CONFIG
    if not processor.is_file():
        raise ModelDamaged(
            f"'{name}' has no {PROCESSOR_CONFIG}, so the preprocessing of its images is not known. "
            "Download the model again with it, or save its image processor there."
        )
    _json_object(processor, name)


def weights_mismatch(model: str, files: ModelFiles) -> ModelDamaged:
    """The error for weights whose shapes are not those that config.json describes."""
    name = display_name(model)
    outputs = _outputs(files)
    labels = len(_json_object(files.directory / CONFIG, name).get("id2label") or {}) or 2
    if outputs is not None and outputs != labels:
        return ModelDamaged(
            f"The weights of '{name}' have {outputs} outputs, but its {CONFIG} names {labels} "
            "labels. Correct id2label, or use the configuration that belongs to the weights."
        )
    return ModelDamaged(
        f"The weights of '{name}' do not have the shapes that its {CONFIG} describes; the log "
        "lists them. Use the configuration that belongs to the weights."
    )


def labels_in(model: str, files: ModelFiles) -> list[str]:
    """The labels that a model will have once it is loaded, in the order of its outputs.

    They are those of transformers, which completes what config.json leaves out.

    Args:
        model: Its hub id or directory.
        files: Its files on this disk.

    Raises:
        ModelError: The configuration cannot be read, or is not one of an image classifier.
    """
    from transformers import AutoConfig

    name = display_name(model)
    values = _json_object(files.directory / CONFIG, name)
    if not is_timm(values):
        _check_task(name, values)
    with load_errors(model):
        config = AutoConfig.from_pretrained(
            files.directory, local_files_only=True, trust_remote_code=False
        )
    return labels_of(config, name)


def labels_of(config: Any, name: str) -> list[str]:
    """The labels of a configuration of transformers, in the order of the model's outputs.

    Raises:
        ModelDamaged: They are not numbered 0, 1, 2, ...
    """
    # Some forks store the ids as strings; the configuration converts them to numbers.
    labels = {int(i): str(label) for i, label in config.id2label.items()}
    if sorted(labels) != list(range(len(labels))):
        raise ModelDamaged(
            f"The {CONFIG} of '{name}' numbers its labels {listed(sorted(labels))}; they must "
            "be numbered from 0 without gaps."
        )
    return [labels[i] for i in range(len(labels))]


def unsafe_labels_of(
    model: str, files: ModelFiles, named: Sequence[str], labels: Sequence[str]
) -> Sequence[str]:
    """The unsafe labels of a model by name; none where only card and words say them.

    Args:
        model: Its hub id or directory.
        files: Its files on this disk.
        named: Those of the settings, which come first.
        labels: All labels that the loaded model has; config.json is not read for them.

    Raises:
        ModelDamaged: The configuration cannot be read, or names a label that the model lacks.
        ModelUnsupported: It has a label as safe whose word is known to be unsafe.
    """
    if named:
        return named
    found = configured_unsafe_labels(files, labels)
    unsafe = set(map(normalized, found))
    for label in labels if found else ():
        if role_of(label) is LabelRole.UNSAFE and normalized(label) not in unsafe:
            raise ModelUnsupported(
                f"The {CONFIG} of '{display_name(model)}' says that the label '{label}' is safe. "
                "Set NSFW_UNSAFE_LABELS to the unsafe ones, separated by commas. All labels: "
                f"{', '.join(labels)}."
            )
    return found


def configured_unsafe_labels(files: ModelFiles, labels: Sequence[str]) -> Sequence[str]:
    """The unsafe labels that the configuration of a directory names, as `train` writes them.

    A model of the hub has none: what its owner says about its labels is not taken.

    Args:
        files: Its files on this disk.
        labels: All labels of the model.

    Raises:
        ModelDamaged: The configuration cannot be read, or names a label that the model lacks.
    """
    if files.revision is not None:
        return ()
    name = files.directory.name
    found = _json_object(files.directory / CONFIG, name).get(UNSAFE_LABELS, [])
    if not isinstance(found, list) or not all(each in labels for each in found):
        raise ModelDamaged(
            f"{UNSAFE_LABELS} in the {CONFIG} of '{name}' is not a list of labels of the model."
        )
    return found


def is_timm(config: dict[str, Any]) -> bool:
    """Whether a configuration is one that timm writes, or transformers' wrapper of it."""
    return config.get("model_type") == "timm_wrapper" or "pretrained_cfg" in config


def _check_timm(name: str) -> None:
    for package in TIMM_PACKAGES:
        try:
            import_module(package)
        except Exception as error:
            # torchvision next to a torch it was not built for raises RuntimeError, for example.
            log_cause(log, f"{package} cannot be imported", error)
            raise ModelLibraryMissing(
                f"'{name}' needs timm and torchvision: pip install 'nsfw-review[timm]'. "
                f"{package} cannot be imported here."
            ) from error


def _check_task(name: str, config: dict[str, Any]) -> None:
    from transformers import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES

    kind = config.get("model_type")
    if not isinstance(kind, str):
        raise ModelUnsupported(
            f"The {CONFIG} of '{name}' names no model_type, so its type is not known."
        )
    if kind not in CONFIG_MAPPING:
        own_code = "auto_map" in config
        raise ModelUnsupported(
            f"'{name}' needs code of its own to run, which is never executed here."
            if own_code
            else f"'{name}' is a '{kind}', which transformers {version('transformers')} does not "
            "know. Choose another NSFW_MODEL."
        )
    if kind not in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES:
        raise ModelUnsupported(
            f"'{name}' is a '{kind}', not an image classifier. Choose another NSFW_MODEL."
        )


def listed(values: Sequence[Any]) -> str:
    """The first few values, separated by commas, and how many more there are."""
    more = f" and {len(values) - MAX_LISTED} more" if len(values) > MAX_LISTED else ""
    return ", ".join(map(str, values[:MAX_LISTED])) + more


def _json_object(path: Path, name: str) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelDamaged(
            f"{path.name} of '{name}' cannot be read as JSON. {DOWNLOAD_AGAIN}"
        ) from error
    if not isinstance(values, dict):
        raise ModelDamaged(f"{path.name} of '{name}' is not a JSON object. {DOWNLOAD_AGAIN}")
    return values


def _outputs(files: ModelFiles) -> int | None:
    """The number of outputs of the classification head in the weights, if it can be read."""
    for path in files.weights:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="numpy") as tensors:
                for key in tensors.keys():  # noqa: SIM118  # it is not a mapping
                    if HEAD.search(key):
                        return int(tensors.get_slice(key).get_shape()[0])
    return None
