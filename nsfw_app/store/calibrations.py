"""Calibrations: every version that was fitted, with its curve, its reviews and its author."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from nsfw_app.records import ModelIdentity
from nsfw_app.store.audit import AuditAction, note
from nsfw_app.store.connections import Connections, now


@dataclass(frozen=True, slots=True)
class StoredCalibration:
    """A fitted version.

    - `backends` are those whose predictions it was fitted to, as those of one model.
    - `curve` is the function from scores to probabilities, as JSON.
    - `reviews` is the number of settled labels that it was fitted to.
    """

    model: str
    revision: str
    weights_sha256: str
    backends: tuple[str, ...]
    version: int
    method: str
    curve: dict[str, Any]
    reviews: int
    fitted_at: str
    author: str


class Calibrations:
    """Reads and adds calibrations. A version is one of the same weights."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def all(self) -> list[StoredCalibration]:
        """Every version of every model, the latest first."""
        rows = self._connections.db.execute(
            """
            select model, revision, weights_sha256, backends, version, method, curve, reviews,
              fitted_at, author
            from calibrations order by id desc
            """
        )
        return [
            StoredCalibration(
                **{
                    **dict(row),
                    "backends": tuple(json.loads(row["backends"])),
                    "curve": json.loads(row["curve"]),
                }
            )
            for row in rows
        ]

    def add(
        self,
        identity: ModelIdentity,
        *,
        backends: Iterable[str],
        method: str,
        curve: dict[str, Any],
        reviews: int,
        author: str,
    ) -> StoredCalibration:
        """Save a calibration as the next version of these weights.

        Args:
            identity: The model whose scores it calibrates.
            backends: Those whose predictions count as this model's.
            method: Name of the method.
            curve: The function, as JSON.
            reviews: Number of settled labels.
            author: Name of the person who had it fitted.
        """
        weights = identity.model, identity.revision, identity.weights_sha256
        ordered, stored = sorted(backends), json.dumps(curve)
        with self._connections.writing() as db:
            ((version,),) = db.execute(
                """
                select coalesce(max(version), 0) + 1 from calibrations
                where model = ? and revision = ? and weights_sha256 = ?
                """,
                weights,
            ).fetchall()
            fitted_at = now()
            db.execute(
                """
                insert into calibrations (model, revision, weights_sha256, backends, version,
                  method, curve, reviews, fitted_at, author)
                values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                """,
                (
                    *weights,
                    json.dumps(ordered),
                    version,
                    method,
                    stored,
                    reviews,
                    fitted_at,
                    author,
                ),
            )
            note(
                db,
                author,
                AuditAction.CALIBRATION,
                identity.model,
                version=version,
                method=method,
                reviews=reviews,
            )
        return StoredCalibration(
            *weights,
            tuple(ordered),
            version,
            method,
            json.loads(stored),
            reviews,
            fitted_at,
            author,
        )
