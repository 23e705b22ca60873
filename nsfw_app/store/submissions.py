"""Submissions: images that programs put into the queue, and their states."""

import json
import sqlite3
import uuid
from dataclasses import dataclass

from sqlite_utils import Database

from nsfw_app.errors import NotFound
from nsfw_app.records import Category, Label, Upload
from nsfw_app.store.connections import Connections, now
from nsfw_app.store.settled_categories import NAMED, settled_categories
from nsfw_app.store.states import SubmissionState, report_state, state_of


@dataclass(frozen=True, slots=True)
class Submission:
    """An image that a program submitted for review.

    `label` and `categories` are the settled ones, the latter None where no reviewer was asked.
    """

    submission_id: str
    prediction_id: int
    owner: str
    name: str
    submitted_at: str
    state: SubmissionState
    label: Label | None
    settled_at: str | None
    answers: int
    categories: tuple[Category, ...] | None


WAITING = """
select s.id from submissions s join queue q on q.prediction_id = s.prediction_id
where s.prediction_id = ? and s.owner = ? and s.name = ? and q.settled_at is null
"""
FOUND = f"""
select s.*, q.settled_at, q.settled_label,
  (select count(*) from standing_answers a where a.prediction_id = s.prediction_id) as answers,
  ({NAMED.format(image="p.image_sha256")}) as named
from submissions s join predictions p on p.id = s.prediction_id
  left join queue q on q.id = (
  select max(latest.id) from queue latest where latest.prediction_id = s.prediction_id
)
where s.id = ?
"""


class Submissions:
    """Adds and finds submissions."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    @staticmethod
    def add(db: Database, prediction_id: int, upload: Upload) -> str:
        """Add a submission inside an open transaction; its id.

        Submitted again under the same name while it waits, it keeps its id. For one that is
        settled already the webhook's message is written at once.
        """
        submission_id = uuid.uuid4().hex
        known = db.execute(WAITING, (prediction_id, upload.owner, upload.name)).fetchone()
        if known:
            return str(known["id"])
        db.execute(
            "insert into submissions (id, prediction_id, owner, name, key_name, submitted_at) "
            "values (?, ?, ?, ?, ?, ?)",
            (submission_id, prediction_id, upload.owner, upload.name, upload.key_name, now()),
        )
        report_state(db, prediction_id, submission_id)
        return submission_id

    def get(self, submission_id: str) -> Submission:
        """A submission with its current state.

        Raises:
            NotFound: There is no such submission.
        """
        row = self._connections.row(FOUND, (submission_id,))
        if row is None:
            raise NotFound(f"There is no submission {submission_id}.")
        return _submission(row)


def _submission(row: sqlite3.Row) -> Submission:
    state = state_of(row)
    return Submission(
        row["id"],
        row["prediction_id"],
        row["owner"],
        row["name"],
        row["submitted_at"],
        state.name,
        state.label,
        row["settled_at"],
        row["answers"],
        None if state.label is None else settled_categories(json.loads(row["named"])),
    )
