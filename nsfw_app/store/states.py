"""The state of a submitted image, and the webhook messages that report its changes.

- The state is that of the prediction's latest queue entry, as `GET /v1/images/ID` returns it.
- A change of state writes one message for each submission, in the transaction of the change.
  Nothing is written while the state stays as it is, however many entries are opened and settled.
- No message is written for a key that was revoked, or whose webhook is gone.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from sqlite_utils import Database

from nsfw_app.records import Label
from nsfw_app.store.connections import now
from nsfw_app.store.settled_categories import categories_of


class SubmissionState(StrEnum):
    """The state of a submission."""

    WAITING = "waiting"
    SETTLED = "settled"
    WITHDRAWN = "withdrawn"  # unsettled: its preview was deleted, or a new policy released it


class WebhookEvent(StrEnum):
    """The `type` of a message."""

    SETTLED = "image.settled"
    REOPENED = "image.reopened"
    WITHDRAWN = "image.withdrawn"


EVENTS: Mapping[SubmissionState, WebhookEvent] = MappingProxyType(
    {
        SubmissionState.WAITING: WebhookEvent.REOPENED,
        SubmissionState.SETTLED: WebhookEvent.SETTLED,
        SubmissionState.WITHDRAWN: WebhookEvent.WITHDRAWN,
    }
)


@dataclass(frozen=True, slots=True)
class State:
    """A state, with the settled label if it is settled."""

    name: SubmissionState
    label: Label | None = None


def state_of(row: Any) -> State:
    """The state in the columns `settled_at` and `settled_label` of the latest queue entry."""
    if row is None or row["settled_at"] is None:
        return State(SubmissionState.WAITING)
    if row["settled_label"] is None:
        return State(SubmissionState.WITHDRAWN)
    return State(SubmissionState.SETTLED, Label(row["settled_label"]))


@contextmanager
def webhooks_on_state_change(db: Database) -> Iterator[Callable[[int], None]]:
    """Queue a webhook message for every submission whose state changes within the block.

    The block is inside an open transaction.

    Yields:
        A function to call with a prediction's id before anything of it changes.
    """
    before: dict[int, State] = {}

    def watch(prediction_id: int) -> None:
        if prediction_id not in before:
            before[prediction_id] = _state(db, prediction_id)

    yield watch
    for prediction_id, earlier in before.items():
        state = _state(db, prediction_id)
        if state != earlier:
            _write(db, state, prediction_id)


def report_state(db: Database, prediction_id: int, submission_id: str) -> None:
    """Write a message for a new submission of an image that does not wait."""
    state = _state(db, prediction_id)
    if state.name is not SubmissionState.WAITING:
        _write(db, state, prediction_id, submission_id=submission_id)


def _state(db: Database, prediction_id: int) -> State:
    return state_of(
        db.execute(
            "select settled_at, settled_label from queue where prediction_id = ? "
            "order by id desc limit 1",
            (prediction_id,),
        ).fetchone()
    )


def _write(
    db: Database, state: State, prediction_id: int, *, submission_id: str | None = None
) -> None:
    """Write a message for a submission, or for all submissions of an image."""
    categories = None if state.label is None else categories_of(db, prediction_id)
    db.execute(
        """
        insert into deliveries (id, submission_id, event, label, categories, created_at, next_at)
        select lower(hex(randomblob(16))), s.id, :event, :label, :categories, :now, :now
        from submissions s join api_keys k on k.name = s.key_name
        where s.prediction_id = :prediction and s.id = coalesce(:submission, s.id)
          and k.webhook_url is not null and k.revoked_at is null and k.webhook_gone_at is null
        order by s.rowid
        """,
        {
            "event": EVENTS[state.name],
            "label": state.label,
            "categories": None if categories is None else json.dumps(categories),
            "now": now(),
            "prediction": prediction_id,
            "submission": submission_id,
        },
    )
