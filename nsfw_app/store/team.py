"""What administrators set for the team: viewing defaults, and who of them does not review.

- Each change is audited in its transaction.
- An administrator who does not review sees all decisions, and cannot record any.
"""

from dataclasses import asdict, dataclass
from enum import StrEnum

from nsfw_app.store.audit import AuditAction, note
from nsfw_app.store.connections import Connections, now


class Reveal(StrEnum):
    """How images are revealed: while a key is held, by a click, or by themselves in the Queue."""

    HOLD = "hold"
    CLICK = "click"
    AT_ONCE = "at_once"


@dataclass(frozen=True, slots=True)
class ViewingDefaults:
    """How images are shown to reviewers who chose nothing else; None leaves the program's default.

    - `blur_px` is the radius of the blur in CSS pixels.
    - `grayscale` is of hidden images, `grayscale_revealed` of revealed ones.
    - `pause_after` is how many revealed images suggest a pause; 0 for never.
    """

    blur_px: int | None = None
    grayscale: bool | None = None
    grayscale_revealed: bool | None = None
    reveal: Reveal | None = None
    pause_after: int | None = None

    MIN_BLUR_PX = 6  # below, faces are recognizable
    MAX_BLUR_PX = 40


class Team:
    """Reads and changes what is set for the team."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def viewing_defaults(self) -> ViewingDefaults:
        """The defaults in force."""
        row = self._connections.row(
            """
            select blur_px, grayscale, grayscale_revealed, reveal, pause_after
            from viewing_defaults order by id desc limit 1
            """
        )
        if row is None:
            return ViewingDefaults()
        return ViewingDefaults(
            row["blur_px"],
            _flag(row["grayscale"]),
            _flag(row["grayscale_revealed"]),
            row["reveal"] and Reveal(row["reveal"]),
            row["pause_after"],
        )

    def set_viewing_defaults(self, defaults: ViewingDefaults, *, actor: str) -> None:
        """Put defaults in force. Earlier ones stay in the table."""
        values = asdict(defaults)
        with self._connections.writing() as db:
            db.table("viewing_defaults").insert({**values, "author": actor, "set_at": now()})
            note(db, actor, AuditAction.VIEWING_DEFAULTS, "team", **values)

    def reviews(self, name: str) -> bool:
        """Whether this administrator reviews; True unless they said that they do not."""
        row = self._connections.row("select 1 from not_reviewing where reviewer = ?", (name,))
        return row is None

    def set_reviews(self, name: str, reviews: bool) -> None:
        """Say whether this administrator reviews. Saying it again changes nothing."""
        with self._connections.writing() as db:
            if reviews:
                sql = "delete from not_reviewing where reviewer = ? returning 1"
                changed = db.execute(sql, (name,)).fetchone()
            else:
                sql = "insert into not_reviewing values (?, ?) on conflict do nothing returning 1"
                changed = db.execute(sql, (name, now())).fetchone()
            if changed:
                note(db, name, AuditAction.REVIEWING, name, reviews=reviews)


def _flag(value: int | None) -> bool | None:
    return None if value is None else bool(value)
