"""Which network computes a model's scores: a verified faster one, or torch.

What always holds: nothing unverified is used. `auto` takes the fastest artefact of exactly these
weights that was verified with what this CPU computes with, else torch, in 16-bit floats only where
the device has them and their report passed. A backend asked for by name is that one or an error.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from nsfw_app import machine, photographs
from nsfw_app.classifiers import Network, artefacts, nsfw_score
from nsfw_app.classifiers.artefacts import FILES, Artefact, Format, Origin
from nsfw_app.classifiers.hub import ModelFiles
from nsfw_app.errors import ModelNotFound, ModelUnsupported
from nsfw_app.models import label_roles
from nsfw_app.records import LabelRole, Policy
from nsfw_app.verification import Report, compare

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
    found = [a for a in artefacts.find(backends.engines, origin) if a.format in FILES]
    if backends.wanted not in {AUTO, TORCH}:
        artefact = _named(backends.wanted, found, origin)
        return open_artefact(artefact, unsafe_labels=unsafe_labels, threads=threads)
    if backends.wanted == AUTO:
        for artefact in found:
            if artefact.trusted and artefact.fits(machine.cpu().features):
                try:
                    return open_artefact(artefact, unsafe_labels=unsafe_labels, threads=threads)
                except ModelUnsupported as error:
                    log.warning("%s", error)
    return _torch(origin, files, backends, unsafe_labels=unsafe_labels, threads=threads)


def open_artefact(artefact: Artefact, *, unsafe_labels: Sequence[str], threads: int) -> Network:
    """The network of an artefact, without torch.

    Raises:
        ModelUnsupported: Its files are not those that were verified, or cannot be used here.
    """
    artefact.check()
    roles = label_roles(artefact.labels, unsafe_labels=unsafe_labels)
    return _opened(artefact, roles, threads)


def nsfw_scores(network: Network, pictures: Sequence[Image.Image]) -> Iterator[float]:
    """The nsfw score of each picture, in order, each computed by itself."""
    for picture in pictures:
        (row,) = network.score(network.prepare(picture)[None])
        yield nsfw_score(dict(zip(network.roles, map(float, row), strict=True)), network.roles)


def _opened(artefact: Artefact, roles: Mapping[str, LabelRole], threads: int) -> Network:
    if artefact.format in {Format.OPENVINO, Format.OPENVINO_INT8}:
        from nsfw_app.classifiers.openvino_network import OpenVinoNetwork

        return OpenVinoNetwork(artefact, roles=roles, threads=threads)
    from nsfw_app.classifiers.onnx_network import OnnxNetwork

    return OnnxNetwork(artefact, roles=roles, threads=threads)


def _named(wanted: str, found: Sequence[Artefact], origin: Origin) -> Artefact:
    """The artefact that was asked for, also one whose report failed: somebody insists."""
    make = f"python -m nsfw_app optimize --model {origin.model} --format {wanted}"
    for artefact in found:
        if artefact.format == wanted:
            if not artefact.fits(machine.cpu().features):
                raise ModelUnsupported(
                    f"{artefact.directory} was verified on another kind of CPU, {artefact.cpu}. "
                    f"Make it again here: {make}"
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
    if not exact and has_short_floats and _short_report(network, backends).passed:
        network.shorten()
    return network


def _short_report(network: "TransformersNetwork", backends: Backends) -> Report:
    """How far a model's scores in 16-bit floats are from those in 32; measured once."""
    place = artefacts.place(backends.engines, network.origin, network.short_format)
    known = artefacts.read(place)
    if known and known.origin == network.origin and known.fits(machine.cpu().features):
        return known.report
    pictures = photographs.whole()
    exact = list(nsfw_scores(network, pictures))
    with network.shortened():
        short = list(nsfw_scores(network, pictures))
    report = compare(exact, short, backends.policy_of(network.origin.model))
    with artefacts.writing(place) as directory:
        made = Artefact.made_here(directory, network.short_format, network.origin, network.roles)
        artefacts.describe(directory, replace(made, report=report))
    return report
