"""Which network computes a model's scores: a verified faster one, or torch.

What always holds: nothing unverified is used. `auto` takes the fastest artefact of exactly these
weights that was verified with what this CPU computes with, else the original, in 16-bit floats only
where the device has them, they are faster and their report passed. A backend asked for by name is
that one or an error.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from PIL import Image

from nsfw_app import machine, photographs
from nsfw_app.classifiers import Network, artefacts, nsfw_score
from nsfw_app.classifiers.artefacts import FILES, Artefact, Format, Origin
from nsfw_app.classifiers.hub import ModelFiles
from nsfw_app.errors import ModelNotFound, ModelUnsupported
from nsfw_app.models import label_roles
from nsfw_app.records import Policy

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


class ShortFloats(Network, Protocol):
    """A network in 32-bit floats that can compute in 16-bit ones as well."""

    @property
    def origin(self) -> Origin:
        """Its weights."""
        ...

    @property
    def short_format(self) -> Format:
        """The name of what `shorten` makes of it."""
        ...

    def shorten(self) -> None:
        """Compute in 16-bit floats from now on.

        Raises:
            RuntimeError: It cannot on this machine.
        """
        ...

    def shortened(self) -> AbstractContextManager[None]:
        """The same until the block ends."""
        ...


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


def open_embedded(backends: Backends | None, *, threads: int) -> Network:
    """The embedded network, in 32-bit floats where nothing else is wanted.

    Args:
        backends: Which is wanted; None for 32-bit floats.
        threads: CPU threads.

    Raises:
        ModelNotFound: Its weights are missing or damaged.
    """
    from nsfw_app.classifiers.open_nsfw import OpenNSFW

    network = OpenNSFW(threads=threads)
    if backends is not None and machine.cpu().multiplies_bf16:
        _shorten_if_trusted(network, backends)
    return network


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
    if has_short_floats and not network.is_lent_a_gpu:
        _shorten_if_trusted(network, backends)
    return network


def _shorten_if_trusted(network: ShortFloats, backends: Backends) -> None:
    """Let a network compute in 16-bit floats if its scores stay near enough and it is faster.

    That is measured once. Whatever goes wrong, it computes in 32-bit floats.
    """
    if backends.wanted != AUTO:
        return
    origin, kind = network.origin, network.short_format
    artefact = artefacts.latest_of(backends.engines, origin, kind)
    try:
        if (
            artefact is None
            or artefact.misfit
            or artefact.roles != network.roles
            or (not artefact.original_images_per_s)
        ):
            artefact = _compared_in_short(network, artefacts.place(backends.engines, origin, kind))
        if artefact.is_faster and artefact.trusted(backends.policy_of(origin.model)):
            network.shorten()
    except Exception as error:  # the network itself works
        log.warning("%s stays in 32-bit floats: %s", origin.model, error, exc_info=True)
    finally:
        machine.give_memory_back()  # the photographs, and what the other floats took


def _compared_in_short(network: ShortFloats, builds: Path) -> Artefact:
    pictures = photographs.shipped()
    exact, exact_rate = _measured(network, pictures)
    with network.shortened():
        short, short_rate = _measured(network, pictures)
    with artefacts.writing(builds) as directory:
        made = Artefact.made_here(directory, network.short_format, network.origin, network.roles)
        made = replace(
            made,
            images_per_s=short_rate,
            original_images_per_s=exact_rate,
            scores=tuple(zip(exact, short, strict=True)),
        )
        artefacts.describe(directory, made)
    return made


def _measured(network: Network, pictures: Sequence[Image.Image]) -> tuple[list[float], float]:
    """The scores of pictures, and how many of them a second, in as many threads as it has lanes."""
    begun = time.perf_counter()
    with ThreadPoolExecutor(network.lanes) as lanes:
        alone = lanes.map(lambda picture: next(nsfw_scores(network, [picture])), pictures)
        scores = list(alone)
    return scores, round(len(scores) / (time.perf_counter() - begun), 2)
