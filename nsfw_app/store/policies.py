"""Policies: every version, with its author and reason."""

import json
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from nsfw_app.errors import PolicyError
from nsfw_app.records import Policy
from nsfw_app.rules.policy import rules_json, rules_of
from nsfw_app.store.audit import AuditAction, note
from nsfw_app.store.connections import Connections, now

COLUMNS = "threshold, review_from, review_to, version, author, reason, category_rules"


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """A policy, and when it was saved; empty for the first one, which is that of the settings."""

    policy: Policy
    created_at: str


class Policies:
    """Reads and adds the policies of each model."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def latest(self, model: str) -> Policy | None:
        """The latest policy of a model, or None."""
        row = self._connections.row(
            f"select {COLUMNS} from policies where model = ? order by version desc limit 1",
            (model,),
        )
        return row and _policy(row)

    def versions(self, model: str) -> list[PolicyVersion]:
        """Every saved version of a model's policy, the latest first."""
        # The first one has no author: its row was added with the second, at that one's time.
        rows = self._connections.db.execute(
            f"""
            select {COLUMNS}, iif(author = '', '', created_at) as saved_at
            from policies where model = ? order by version desc
            """,
            (model,),
        )
        return [PolicyVersion(_policy(row), row["saved_at"]) for row in rows]

    def add(
        self,
        model: str,
        policy: Policy,
        *,
        first: Policy,
        replaces: int | None = None,
        reverts_to: int | None = None,
    ) -> Policy:
        """Save a policy as the model's next version; return it with its version number.

        Args:
            model: The model's id.
            policy: The thresholds, with author and reason.
            first: The default in force before any policy was saved; kept as the first version.
            replaces: The version that must still be in force; None for any.
            reverts_to: The earlier version whose numbers these are; kept in the audit.

        Raises:
            PolicyError: Another version is in force.
        """
        with self._connections.writing() as db:
            latest = self.latest(model)
            if replaces not in {None, (latest or first).version}:
                raise PolicyError(
                    "The policy has changed since this form was opened. Close it and open it again."
                )
            if latest is None:
                _insert(db, model, first)
            saved = _insert(db, model, policy)
            details = {"version": saved.version}
            if reverts_to is not None:
                details["reverts_to"] = reverts_to
            note(db, policy.author, AuditAction.POLICY, model, **details)
            return saved


def _insert(db: Database, model: str, policy: Policy) -> Policy:
    row = db.execute(
        f"""
        insert into policies (model, version, threshold, review_from, review_to, author, reason,
          category_rules, created_at)
        select ?, coalesce(max(version), 0) + 1, ?, ?, ?, ?, ?, ?, ? from policies where model = ?
        returning {COLUMNS}
        """,
        (
            model,
            policy.threshold,
            policy.review_from,
            policy.review_to,
            policy.author,
            policy.reason,
            json.dumps(rules_json(policy.category_rules)),
            now(),
            model,
        ),
    ).fetchone()
    return _policy(row)


def _policy(row: Any) -> Policy:
    threshold, review_from, review_to, version, author, reason, rules, *_ = row
    return Policy(
        threshold,
        review_from,
        review_to,
        version,
        author,
        reason,
        category_rules=rules_of(json.loads(rules)),
    )
