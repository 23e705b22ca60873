"""Speed of each backend on decoded images, and how its scores differ from torch's."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from benchmarks.timing import CONCURRENT_CALLERS, durations, images_per_s, percentile_ms
from nsfw_app import system
from nsfw_app.errors import ModelNotFound
from nsfw_app.models import build_files, calibration_set
from nsfw_app.models.artifacts import ModelVersion
from nsfw_app.models.cards import OPEN_NSFW, first_policy, label_roles
from nsfw_app.models.classifier import Backend, Classifier, nsfw_score
from nsfw_app.models.hub import find
from nsfw_app.models.optimize.optimizer import OptimizationConfig, optimize
from nsfw_app.models.optimized_formats import FILES, Format
from nsfw_app.models.parity import compare
from nsfw_app.models.scheduler import DynamicBatcher, UnbatchedClassifier
from nsfw_app.models.selection import (
    AUTO,
    TORCH,
    BackendConfig,
    open_optimized_model,
    open_packaged,
)
from nsfw_app.records import Policy
from nsfw_app.settings import DEFAULT_BATCH_SIZE
from nsfw_app.system import Cpu

if TYPE_CHECKING:
    from nsfw_app.models.backends.pytorch import TransformersBackend

PIPELINE = "pipeline"  # of transformers, called as in its documentation
OPEN_NSFW_FP32 = "open-nsfw-exact"  # 32-bit floats; `open-nsfw` is what `auto` selects here
EMBEDDED = (OPEN_NSFW, OPEN_NSFW_FP32)
BAND = (0.2, 0.8)

Numbers = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Subject:
    """The measured model: its name, its files, and the directory of its optimized models."""

    name: str
    model: str
    revision: str
    unsafe_labels: Sequence[str]
    threads: int
    artifacts_dir: Path

    @property
    def policy(self) -> Policy:
        """The policy that computes the labels and actions to compare."""
        return first_policy(self.name, threshold=None, band=BAND)


def names(cpu: Cpu) -> tuple[str, ...]:
    """Every backend that this CPU runs natively, without emulating its precision."""
    half = (Format.TORCH_BF16,) if cpu.multiplies_bf16 else ()
    built = (kind for kind in FILES if kind is not Format.OPENVINO_INT8_MIXED)  # slow to build
    return PIPELINE, TORCH, *half, *built, *EMBEDDED


def save_random_vit(directory: str) -> None:
    """Save a model of Falconsai's shape with random weights, which has the same speed."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

    torch.manual_seed(0)
    labels = {0: "normal", 1: "nsfw"}
    ViTForImageClassification(ViTConfig(id2label=labels)).save_pretrained(directory)
    ViTImageProcessorPil().save_pretrained(directory)


def build(subject: Subject, chosen: Sequence[str]) -> Numbers:
    """Build the optimized models, and count the model's floating point operations per image."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    for kind in FILES:
        if kind in chosen:
            config = OptimizationConfig(
                subject.model, subject.revision, subject.unsafe_labels, kind, force=True
            )
            backends = BackendConfig(kind, subject.artifacts_dir, lambda _: subject.policy)
            optimize(config, backends, threads=subject.threads, progress=lambda _: None)
    backend = _torch(subject)
    pixels = torch.from_numpy(backend.prepare(Image.new("RGB", (64, 64)))[None])
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        backend.model(pixel_values=pixels)
    origin = backend.origin
    return {
        "revision": origin.revision,
        "weights_sha256": origin.weights_sha256,
        "gflop_per_image": round(counter.get_total_flops() / 1e9, 1),
    }


def measure(subject: Subject, name: str, seconds: float) -> Numbers:
    """One backend's speed, memory and scores over the calibration set, in this process."""
    images = calibration_set.bundled()
    if name == PIPELINE:
        numbers = _measure_pipeline(subject, images, seconds)
    else:
        classifier = open_classifier(subject, name)

        def score(image: Image.Image) -> float:
            (probabilities,) = classifier.predict([image])
            return nsfw_score(probabilities, classifier.roles)

        numbers = _one_by_one(score, images, seconds) | {
            "images_per_s": round(images_per_s(classifier, images, seconds), 2),
            "backend": classifier.identity.backend,
        }
    return numbers | {"peak_rss_mb": system.memory_mb().peak}


def with_ratios(
    measured: Mapping[str, Numbers],
    peak: Mapping[str, float],
    gflop: float,
    cpu: Cpu,
    policy: Policy,
) -> Numbers:
    """Add ratios to the pipeline and to the CPU's peak, and the differences from torch's scores."""
    results = {}
    fp32 = (measured.get(TORCH) or measured.get(PIPELINE) or {}).get("scores")
    fp32_embedded = measured.get(OPEN_NSFW_FP32, {}).get("scores")
    plain = measured.get(PIPELINE, {}).get("images_per_s")
    for name, numbers in measured.items():
        rate, scores = numbers["images_per_s"], numbers["scores"]
        results[name] = {key: value for key, value in numbers.items() if key != "scores"}
        if plain:
            results[name]["times_the_pipeline"] = round(rate / plain, 2)
        if name not in EMBEDDED:
            precision = _precision_of(name, cpu)
            results[name]["multiplies"] = precision
            results[name]["share_of_peak"] = round(rate * gflop / peak[precision], 2)
        if original := fp32_embedded if name in EMBEDDED else fp32:
            report = compare(original, scores, policy)
            results[name] |= {
                "largest_difference": round(report.largest_difference, 5),
                "mean_difference": round(report.mean_difference, 5),
                "changed_labels": report.changed_labels,
                "changed_actions": report.changed_actions,
            }
    return results


def open_classifier(subject: Subject, name: str) -> Classifier:
    """A backend with its scheduler, as the product uses it."""
    backend = _open(subject, name)
    kind = DynamicBatcher if backend.supports_batching else UnbatchedClassifier
    return kind(backend, max_waiting=2 * CONCURRENT_CALLERS)


def _open(subject: Subject, name: str) -> Backend:
    if name in EMBEDDED:
        wanted = AUTO if name == OPEN_NSFW else TORCH
        backends = BackendConfig(wanted, subject.artifacts_dir, lambda _: subject.policy)
        return open_packaged(OPEN_NSFW, backends, threads=subject.threads)
    if name in FILES:
        files = find(subject.model, revision=subject.revision)
        origin = ModelVersion.of_files(subject.model, files)
        optimized_model = build_files.latest(subject.artifacts_dir, origin, Format(name))
        if optimized_model is None:
            raise ModelNotFound(f"{name} was not built.")
        return open_optimized_model(
            optimized_model, name, unsafe_labels=subject.unsafe_labels, threads=subject.threads
        )
    original = _torch(subject)
    return original if name == TORCH else original.to_half()


def _torch(subject: Subject) -> "TransformersBackend":
    from nsfw_app.models.backends.pytorch import TransformersBackend

    files = find(subject.model, revision=subject.revision)
    return TransformersBackend(
        ModelVersion.of_files(subject.model, files),
        files=files,
        unsafe_labels=subject.unsafe_labels,
        threads=subject.threads,
    )


def _measure_pipeline(subject: Subject, images: Sequence[Image.Image], seconds: float) -> Numbers:
    """The plain pipeline, one image at a time and in batches; the faster rate counts."""
    from transformers import pipeline

    files = find(subject.model, revision=subject.revision)
    pipe = pipeline("image-classification", model=str(files.directory), top_k=None)
    labels = [str(pipe.model.config.id2label[i]) for i in range(pipe.model.config.num_labels)]
    roles = label_roles(labels, unsafe_labels=subject.unsafe_labels)

    def score(image: Image.Image) -> float:
        return nsfw_score({entry["label"]: entry["score"] for entry in pipe(image)}, roles)

    numbers = _one_by_one(score, images, seconds)
    endless = cycle(images)
    times = durations(
        lambda: pipe(list(islice(endless, DEFAULT_BATCH_SIZE)), batch_size=DEFAULT_BATCH_SIZE),
        seconds,
    )
    batched = round(DEFAULT_BATCH_SIZE * len(times) / sum(times), 2)
    return numbers | {"images_per_s": max(batched, numbers["images_per_s"])}


def _one_by_one(
    score: Callable[[Image.Image], float], images: Sequence[Image.Image], seconds: float
) -> Numbers:
    endless = cycle(images)
    times = durations(lambda: score(next(endless)), seconds)
    return {
        "images_per_s": round(len(times) / sum(times), 2),
        "p50_ms": percentile_ms(times, 50),
        "p95_ms": percentile_ms(times, 95),
        "scores": [score(image) for image in images],
    }


def _precision_of(name: str, cpu: Cpu) -> str:
    """The precision in which a backend multiplies matrices on a CPU."""
    if name.endswith("int8"):
        return "int8"
    half = name in {Format.TORCH_BF16, Format.OPENVINO} and cpu.multiplies_bf16
    return "bf16" if half else "fp32"
