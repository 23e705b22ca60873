"""Which network computes a model's scores: a verified faster one, or torch.

What always holds: nothing unverified is used. `auto` takes the fastest artefact of exactly these
weights that was verified with what this CPU computes with, else torch, in 16-bit floats only where
the device has them and their report passed. A backend asked for by name is that one or an error.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from nsfw_app import machine, photographs
from nsfw_app.classifiers import Network, artefacts, nsfw_score
from nsfw_app.classifiers.artefacts import FILES, Artefact, Format, Origin
from nsfw_app.classifiers.hub import ModelFiles
from nsfw_app.errors import ModelNotFound, ModelUnsupported, PredictionFailed
from nsfw_app.models import label_roles
from nsfw_app.records import Policy

if TYPE_CHECKING:
    from nsfw_app.classifiers.vit import TransformersNetwork

log = logging.getLogger(__name__)

AUTO, TORCH = "auto", "torch"  # values of the setting beside those of `FILES`


@dataclass(frozen=True, slots=True)
class Backends:
    """What the settings say of backends.

    `engines` is where artefacts lie; `policy_of` gives the policy in force for a model.
    """

    wanted: str
    engines: Path
    policy_of: Callable[[str], Policy]

    @property
    def is_named(self) -> bool:
        """Whether it must be this one format."""
        return self.wanted not in {AUTO, TORCH}


def open_network(
    origin: Origin,
    files: ModelFiles,
    backends: Backends,
    *,
    unsafe_labels: Sequence[str],
    threads: int,
) -> Network:
    """The network that computes a model's scores.

    Args:
        origin: The model, its revision and weights.
        files: Its own files.
        backends: Which is wanted.
        unsafe_labels: For labels that nobody knows.
        threads: CPU threads.

    Raises:
        ModelNotFound: The backend that was asked for was not made yet.
        ModelUnsupported: It, or the model, cannot be used.
    """
    policy = backends.policy_of(origin.model)
    found = [a for a in artefacts.find(backends.engines, origin) if a.format in FILES]

    def opened(artefact: Artefact) -> Network:
        return open_artefact(
            artefact, artefact.backend(policy), unsafe_labels=unsafe_labels, threads=threads
        )

    if backends.is_named:
        return opened(_named(backends.wanted, found, origin))
    if backends.wanted == AUTO:
        for artefact in found:
            if artefact.trusted(policy) and not artefact.misfit:
                try:
                    return opened(artefact)
                except ModelUnsupported as error:
                    log.warning("%s", error)
    return _torch(origin, files, backends, unsafe_labels=unsafe_labels, threads=threads)


def open_artefact(
    artefact: Artefact, backend: str, *, unsafe_labels: Sequence[str], threads: int
) -> Network:
    """The network of an artefact, without torch.

    Args:
        artefact: What to open.
        backend: Its name on predictions.
        unsafe_labels: For labels that nobody knows.
        threads: CPU threads.

    Raises:
        ModelUnsupported: It is not what was verified, or cannot be used here.
    """
    artefact.check()
    if label_roles(artefact.roles, unsafe_labels=unsafe_labels) != artefact.roles:
        raise ModelUnsupported(f"{artefact.directory} was verified with other unsafe labels.")
    if artefact.format in {Format.OPENVINO, Format.OPENVINO_INT8}:
        from nsfw_app.classifiers.openvino_network import OpenVinoNetwork

        return OpenVinoNetwork(artefact, backend=backend, threads=threads)
    from nsfw_app.classifiers.onnx_network import OnnxNetwork

    return OnnxNetwork(artefact, backend=backend, threads=threads)


def nsfw_scores(network: Network, pictures: Sequence[Image.Image]) -> Iterator[float]:
    """The nsfw score of each picture, in order, each computed by itself."""
    for picture in pictures:
        (row,) = network.score(network.prepare(picture)[None])
        yield nsfw_score(dict(zip(network.roles, map(float, row), strict=True)), network.roles)


def _named(wanted: str, found: Sequence[Artefact], origin: Origin) -> Artefact:
    """The artefact that was asked for, also one whose report failed: somebody insists."""
    make = f"python -m nsfw_app optimize --model {origin.model} --format {wanted}"
    for artefact in found:
        if artefact.format == wanted:
            if artefact.misfit:
                raise ModelUnsupported(
                    f"{artefact.directory} cannot be used: {artefact.misfit}. Make it again: {make}"
                )
            return artefact
    raise ModelNotFound(
        f"NSFW_BACKEND={wanted}, and none was made of revision {origin.revision} of "
        f"'{origin.model}'. Make it: {make}"
    )


def _torch(
    origin: Origin,
    files: ModelFiles,
    backends: Backends,
    *,
    unsafe_labels: Sequence[str],
    threads: int,
) -> Network:
    from nsfw_app.classifiers.vit import Device, TransformersNetwork, device

    exact = backends.wanted == TORCH
    network = TransformersNetwork(
        origin,
        files=files,
        unsafe_labels=unsafe_labels,
        threads=threads,
        device=Device.CPU if exact else device(),
    )
    has_short_floats = network.device is not Device.CPU or machine.cpu().multiplies_bf16
    if exact or network.is_lent_a_gpu or not has_short_floats:
        return network
    if _may_be_short(network, backends):
        network.shorten()
    return network


def _may_be_short(network: "TransformersNetwork", backends: Backends) -> bool:
    """Whether a model's scores in 16-bit floats are near enough to those in 32; measured once."""
    origin, kind = network.origin, network.short_format
    artefact = artefacts.latest_of(backends.engines, origin, kind)
    try:
        if artefact is None or artefact.misfit or artefact.roles != network.roles:
            artefact = _compared_in_short(network, artefacts.place(backends.engines, origin, kind))
    except (PredictionFailed, RuntimeError, OSError) as error:
        log.warning("%s stays in 32-bit floats: %s", origin.model, error)
        return False
    return artefact.trusted(backends.policy_of(origin.model))


def _compared_in_short(network: "TransformersNetwork", builds: Path) -> Artefact:
    pictures = photographs.shipped()
    exact = list(nsfw_scores(network, pictures))
    with network.shortened():
        short = list(nsfw_scores(network, pictures))
    with artefacts.writing(builds) as directory:
        made = Artefact.made_here(directory, network.short_format, network.origin, network.roles)
        made = replace(made, scores=tuple(zip(exact, short, strict=True)))
        artefacts.describe(directory, made)
    return made
