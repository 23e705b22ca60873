"""How fast each engine judges decoded pictures, and how far its scores are from torch's."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from benchmarks.timing import CALLERS, durations, images_per_s, percentile_ms
from nsfw_app import system
from nsfw_app.errors import ModelNotFound
from nsfw_app.models import builds, calibration_set
from nsfw_app.models.artifacts import ModelVersion
from nsfw_app.models.cards import OPEN_NSFW, first_policy, label_roles
from nsfw_app.models.classifier import Backend, Classifier, nsfw_score
from nsfw_app.models.formats import FILES, Format
from nsfw_app.models.hub import find
from nsfw_app.models.optimize.optimizer import OptimizationConfig, optimize
from nsfw_app.models.parity import compare
from nsfw_app.models.scheduler import MAX_BATCH, DynamicBatcher, UnbatchedClassifier
from nsfw_app.models.selection import (
    AUTO,
    TORCH,
    BackendConfig,
    open_embedded,
    open_optimized_model,
)
from nsfw_app.records import Policy
from nsfw_app.system import Cpu

if TYPE_CHECKING:
    from nsfw_app.models.backends.pytorch import TransformersBackend

PIPELINE = "pipeline"  # transformers' own, as its documentation shows it
OPEN_NSFW_EXACT = "open-nsfw-exact"  # in 32-bit floats; without this, as it would be used here
EMBEDDED = (OPEN_NSFW, OPEN_NSFW_EXACT)
BAND = (0.2, 0.8)

Numbers = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Subject:
    """The model that is measured: its name, where it is, and where its engines are made."""

    name: str
    model: str
    revision: str
    unsafe_labels: Sequence[str]
    threads: int
    artifacts_dir: Path

    @property
    def policy(self) -> Policy:
        """The policy that labels and actions are compared by."""
        return first_policy(self.name, threshold=None, band=BAND)


def names(cpu: Cpu) -> tuple[str, ...]:
    """Every engine that this CPU can run at the speed it is meant for."""
    short = (Format.TORCH_BF16,) if cpu.multiplies_bf16 else ()
    made = (kind for kind in FILES if kind is not Format.OPENVINO_INT8_MIXED)  # slow to make
    return PIPELINE, TORCH, *short, *made, *EMBEDDED


def save_random_vit(directory: str) -> None:
    """A network of Falconsai's shape with weights of chance: as slow, and no use otherwise."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

    torch.manual_seed(0)
    labels = {0: "normal", 1: "nsfw"}
    ViTForImageClassification(ViTConfig(id2label=labels)).save_pretrained(directory)
    ViTImageProcessorPil().save_pretrained(directory)


def make(subject: Subject, engines: Sequence[str]) -> Numbers:
    """Make the engines that have files, and count what the model multiplies for one image."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    for kind in FILES:
        if kind in engines:
            wish = OptimizationConfig(
                subject.model, subject.revision, subject.unsafe_labels, kind, force=True
            )
            backends = BackendConfig(kind, subject.artifacts_dir, lambda _: subject.policy)
            optimize(wish, backends, threads=subject.threads, progress=lambda _: None)
    network = _torch(subject)
    pixels = torch.from_numpy(network.prepare(Image.new("RGB", (64, 64)))[None])
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network.model(pixel_values=pixels)
    origin = network.origin
    return {
        "revision": origin.revision,
        "weights_sha256": origin.weights_sha256,
        "gflop_per_image": round(counter.get_total_flops() / 1e9, 1),
    }


def measure(subject: Subject, engine: str, seconds: float) -> Numbers:
    """One engine's speed, memory and scores over the calibration set, in this process."""
    pictures = calibration_set.bundled()
    if engine == PIPELINE:
        numbers = _pipeline_numbers(subject, pictures, seconds)
    else:
        classifier = classifier_of(subject, engine)

        def score(picture: Image.Image) -> float:
            (answer,) = classifier.predict([picture])
            return nsfw_score(answer, classifier.roles)

        numbers = _one_by_one(score, pictures, seconds) | {
            "images_per_s": round(images_per_s(classifier, pictures, seconds), 2),
            "backend": classifier.identity.backend,
        }
    return numbers | {"peak_rss_mb": system.memory_mb().peak}


def compared(
    measured: Mapping[str, Numbers],
    peak: Mapping[str, float],
    gflop: float,
    cpu: Cpu,
    policy: Policy,
) -> Numbers:
    """The numbers with their ratios: to the pipeline, to the peak, and of scores to torch's."""
    found = {}
    exact = (measured.get(TORCH) or measured.get(PIPELINE) or {}).get("scores")
    exact_embedded = measured.get(OPEN_NSFW_EXACT, {}).get("scores")
    plain = measured.get(PIPELINE, {}).get("images_per_s")
    for engine, numbers in measured.items():
        rate, scores = numbers["images_per_s"], numbers["scores"]
        found[engine] = {key: value for key, value in numbers.items() if key != "scores"}
        if plain:
            found[engine]["times_the_pipeline"] = round(rate / plain, 2)
        if engine not in EMBEDDED:
            kind = _numbers_of(engine, cpu)
            found[engine]["multiplies"] = kind
            found[engine]["share_of_peak"] = round(rate * gflop / peak[kind], 2)
        if original := exact_embedded if engine in EMBEDDED else exact:
            report = compare(original, scores, policy)
            found[engine] |= {
                "largest_difference": round(report.largest_difference, 5),
                "mean_difference": round(report.mean_difference, 5),
                "changed_labels": report.changed_labels,
                "changed_actions": report.changed_actions,
            }
    return found


def classifier_of(subject: Subject, engine: str) -> Classifier:
    """An engine of ours as the product uses it."""
    network = _network(subject, engine)
    kind = DynamicBatcher if network.supports_batching else UnbatchedClassifier
    return kind(network, max_waiting=2 * CALLERS)


def _network(subject: Subject, engine: str) -> Backend:
    if engine in EMBEDDED:
        wanted = AUTO if engine == OPEN_NSFW else TORCH
        backends = BackendConfig(wanted, subject.artifacts_dir, lambda _: subject.policy)
        return open_embedded(backends, threads=subject.threads)
    if engine in FILES:
        files = find(subject.model, revision=subject.revision)
        origin = ModelVersion.of_files(subject.model, files)
        optimized_model = builds.latest(subject.artifacts_dir, origin, Format(engine))
        if optimized_model is None:
            raise ModelNotFound(f"{engine} was not made.")
        return open_optimized_model(
            optimized_model, engine, unsafe_labels=subject.unsafe_labels, threads=subject.threads
        )
    network = _torch(subject)
    if engine != TORCH:
        return network.to_half()
    return network


def _torch(subject: Subject) -> "TransformersBackend":
    from nsfw_app.models.backends.pytorch import TransformersBackend

    files = find(subject.model, revision=subject.revision)
    return TransformersBackend(
        ModelVersion.of_files(subject.model, files),
        files=files,
        unsafe_labels=subject.unsafe_labels,
        threads=subject.threads,
    )


def _pipeline_numbers(subject: Subject, pictures: Sequence[Image.Image], seconds: float) -> Numbers:
    """The plain pipeline, one by one and in batches; the faster way counts."""
    from transformers import pipeline

    files = find(subject.model, revision=subject.revision)
    pipe = pipeline("image-classification", model=str(files.directory), top_k=None)
    labels = [str(pipe.model.config.id2label[i]) for i in range(pipe.model.config.num_labels)]
    roles = label_roles(labels, unsafe_labels=subject.unsafe_labels)

    def score(picture: Image.Image) -> float:
        return nsfw_score({entry["label"]: entry["score"] for entry in pipe(picture)}, roles)

    numbers = _one_by_one(score, pictures, seconds)
    turn = cycle(pictures)
    times = durations(lambda: pipe(list(islice(turn, MAX_BATCH)), batch_size=MAX_BATCH), seconds)
    batched = round(MAX_BATCH * len(times) / sum(times), 2)
    return numbers | {"images_per_s": max(batched, numbers["images_per_s"])}


def _one_by_one(
    score: Callable[[Image.Image], float], pictures: Sequence[Image.Image], seconds: float
) -> Numbers:
    turn = iter(range(10**9))
    times = durations(lambda: score(pictures[next(turn) % len(pictures)]), seconds)
    return {
        "images_per_s": round(len(times) / sum(times), 2),
        "p50_ms": percentile_ms(times, 50),
        "p95_ms": percentile_ms(times, 95),
        "scores": [score(picture) for picture in pictures],
    }


def _numbers_of(engine: str, cpu: Cpu) -> str:
    """The kind of number that an engine multiplies on a CPU."""
    if engine.endswith("int8"):
        return "int8"
    short = engine in {Format.TORCH_BF16, Format.OPENVINO} and cpu.multiplies_bf16
    return "bf16" if short else "fp32"
