"""The model of a scan: in this process, or on the nodes of a cluster."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from nsfw_app.bootstrap import models_elsewhere, open_models
from nsfw_app.records import LabelRole, ModelIdentity
from nsfw_app.review.policies import PolicyBook
from nsfw_app.settings import Settings

if TYPE_CHECKING:  # with pyarrow; slow to import
    from nsfw_app.datasets.cluster_scan import ClusterScanner
    from nsfw_app.datasets.scan import Redo, Scanner
    from nsfw_app.datasets.scan_directory import ScanDirectory
    from nsfw_app.datasets.scan_record import ScanDetail


@dataclass(frozen=True, slots=True)
class ScanModel:
    """The model of a scan, and what makes the scanner that uses it.

    Attributes:
        identity: Of the model.
        roles: The model's labels in its order.
        message: Why it is a fallback, or ''.
        detail: The detail model; None where there is none.
        scanner: Makes the scanner of a directory, for sources, with the rows that are made again.
    """

    identity: ModelIdentity
    roles: Mapping[str, LabelRole]
    message: str
    detail: "ScanDetail | None"
    scanner: Callable[
        ["ScanDirectory", Sequence[str], frozenset["Redo"]], "Scanner | ClusterScanner"
    ]


@contextmanager
def opened_model(
    cluster: str | None, chosen: Settings, policies: PolicyBook
) -> Iterator[ScanModel]:
    """The model in this process, or on the nodes of a cluster until the block ends."""
    if cluster is None:
        yield _model_here(chosen, policies)
    else:
        with _model_on(cluster, chosen, policies) as model:
            yield model


def _model_here(chosen: Settings, policies: PolicyBook) -> ScanModel:
    from nsfw_app.datasets.locations import is_url
    from nsfw_app.datasets.scan import REMOTE, Scanner
    from nsfw_app.datasets.scan_record import ScanDetail

    models = open_models(chosen, policies.of)
    classifier, detail = models.loader.wait(), models.detail
    found = ScanDetail.of(detail) if detail else None

    def scanner(
        directory: "ScanDirectory", sources: Sequence[str], redo: frozenset["Redo"]
    ) -> Scanner:
        return Scanner(
            directory.parts,
            classifier=classifier,
            policy=directory.record.policy,
            limits=directory.record.limits,
            redo=redo,
            concurrency=classifier.max_in_flight * (REMOTE if any(map(is_url, sources)) else 1),
            detail=detail,
        )

    return ScanModel(
        classifier.identity,
        dict(classifier.roles),
        models.message,
        found,
        scanner,
    )


@contextmanager
def _model_on(cluster: str, chosen: Settings, policies: PolicyBook) -> Iterator[ScanModel]:
    from nsfw_app.datasets.cluster import RayCluster
    from nsfw_app.datasets.cluster_scan import ClusterScanner, probes

    threads = chosen.threads if "threads" in chosen.model_fields_set else None
    opened = RayCluster(cluster, open_model=models_elsewhere(chosen, policies.of), threads=threads)
    # Ray prints messages about workers that were lost, also with `log_to_driver=False`.
    with redirect_stdout(sys.stderr), opened as nodes:

        def scanner(
            directory: "ScanDirectory", sources: Sequence[str], redo: frozenset["Redo"]
        ) -> ClusterScanner:
            found = probes(sources, excluded=directory.path)
            return nodes.scanner(directory, redo=redo, probes=found)

        typer.echo(nodes.summary(), err=True)
        model = nodes.model
        yield ScanModel(model.identity, model.roles, model.message, model.detail, scanner)
