"""Checks that the system's clock is not behind the newest decision."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from nsfw_app.checks.finding import Finding, fault
from nsfw_app.store import Store

NAME = "clock"
TOLERANCE = timedelta(minutes=1)


def check_clock(store: Store, now: datetime) -> Iterator[Finding]:
    """A fault where decisions are in the future, as after a clock was set back.

    A clock that is too fast is not found: no decision shows it.

    Leases, sessions, retention and estimates by time are wrong then.

    Args:
        store: The store.
        now: The time, with a time zone.
    """
    newest = store.decision_rows.newest_time()
    if newest is not None and (ahead := datetime.fromisoformat(newest) - now) > TOLERANCE:
        yield fault(
            NAME,
            f"The newest decision is of {newest}, {ahead.total_seconds() / 60:.0f} minutes ahead "
            "of this machine's clock. Set the clock; is time synchronization on?",
        )
