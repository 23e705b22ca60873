"""Makes a faster network of a model, and keeps it only when its scores are near enough.

The result is run against the torch model on real photographs, prepared as each of them does it.
Files and report appear together, whole, in the data directory, or not at all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from nsfw_app import machine, photographs
from nsfw_app.classifiers import artefacts, reduction
from nsfw_app.classifiers.artefacts import Artefact, Format, Origin
from nsfw_app.classifiers.backends import Backends, nsfw_scores, open_artefact
from nsfw_app.classifiers.batching import Batcher
from nsfw_app.classifiers.hub import find
from nsfw_app.classifiers.preprocessing import Preprocessing
from nsfw_app.errors import ModelUnsupported
from nsfw_app.machine import Cpu
from nsfw_app.timing import CALLERS, images_per_s
from nsfw_app.verification import MAX_CHANGED

if TYPE_CHECKING:
    from nsfw_app.classifiers.vit import TransformersNetwork

CALIBRATION = 128  # pictures or so; more do not change the ranges
CHECKED = 12  # pictures prepared in both ways, to see that the record is right
TIMED_S = 5.0


@dataclass(frozen=True, slots=True)
class Wish:
    """What to make of which model.

    `images` is a folder of the user's own photographs; None for those that packages ship. `force`
    keeps the result although its report failed; it is then used only when asked for by name.
    """

    model: str
    revision: str
    unsafe_labels: Sequence[str]
    format: Format
    images: Path | None = None
    force: bool = False


def best_format(cpu: Cpu) -> Format:
    """What is fastest on a CPU: 8-bit integers where it multiplies them, else floats."""
    return Format.OPENVINO_INT8 if cpu.multiplies_int8 else Format.OPENVINO


def optimize(
    wish: Wish,
    backends: Backends,
    *,
    threads: int,
    tell: Callable[[str], None],
    timed_s: float = TIMED_S,
) -> Artefact:
    """Make, verify, measure and keep a faster network.

    Args:
        wish: What to make.
        backends: Where to keep it, and the policies to judge the difference by.
        threads: CPU threads.
        tell: Is told what goes on.
        timed_s: Seconds to measure its speed for.

    Raises:
        ModelError: The model cannot be had, cannot be exported, or the result differs too much.
        SettingsError: The folder holds no image.
    """
    from nsfw_app.classifiers.vit import TransformersNetwork  # torch, only when needed

    files = find(wish.model, revision=wish.revision)
    origin = Origin.of_files(wish.model, files)
    tell(f"Loading {wish.model}, revision {origin.revision}.")
    original = TransformersNetwork(
        origin, files=files, unsafe_labels=wish.unsafe_labels, threads=threads
    )
    pictures = photographs.of_folder(wish.images) if wish.images else photographs.shipped()
    builds = artefacts.place(backends.engines, origin, wish.format)
    with artefacts.writing(builds) as directory:
        tell(f"Making {wish.format}.")
        made = _exported(original, wish, directory, pictures)
        network = open_artefact(
            made, wish.format, unsafe_labels=wish.unsafe_labels, threads=threads
        )
        tell(f"Comparing it with torch over {len(pictures)} photographs.")
        scores = zip(nsfw_scores(original, pictures), nsfw_scores(network, pictures), strict=True)
        made = replace(made, scores=tuple(scores))
        report = made.report(backends.policy_of(wish.model))
        if not (report.passed or wish.force):
            raise ModelUnsupported(
                f"{wish.format} was not kept. {report.sentence()} At most {MAX_CHANGED:.1%} may "
                f"change. With --force it is kept, and used where NSFW_BACKEND={wish.format}."
            )
        rate = images_per_s(Batcher(network, max_waiting=2 * CALLERS), pictures, timed_s)
        tell("Measuring how many pixels of a JPEG are enough for it.")
        side = made.recorded_preprocessing.side
        made = replace(
            made,
            images_per_s=round(rate, 2),
            glances=reduction.measured(network, side, pictures),
        )
        artefacts.describe(directory, made)
    tell(f"{report.sentence()} It judges {rate:.1f} images a second.")
    return artefacts.latest_of(backends.engines, origin, wish.format) or made


def _exported(
    original: "TransformersNetwork", wish: Wish, directory: Path, pictures: Sequence[Image.Image]
) -> Artefact:
    """The files of a faster network, described as far as is known before it was compared."""
    from nsfw_app.classifiers.exporting import Exporter

    preprocessing = Preprocessing.of(original.processor)
    for picture in pictures[:CHECKED]:
        preprocessing.check(picture, original.prepare(picture))
    step = max(1, len(pictures) // CALIBRATION)
    exporter = Exporter(
        original.model,
        preprocessing,
        calibration=[preprocessing.prepare(picture) for picture in pictures[::step]],
        narrow=not machine.cpu().multiplies_int8,
    )
    exporter.write(wish.format, directory)
    return Artefact.made_here(
        directory, wish.format, original.origin, original.roles, preprocessing
    )
