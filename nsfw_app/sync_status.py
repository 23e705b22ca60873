"""State of copies that are written periodically: of decisions to a hub, and of snapshots."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class SyncStatus:
    """State of copies that are written periodically, of decisions to a hub or of snapshots."""

    target: str  # where to, for people
    last_success_at: datetime | None
    error: str | None  # of the last attempt, None if it succeeded
    pending: int  # rows not copied yet; 0 where that is not counted
    replaced: bool = False  # whether another server was restored: these copies are not any more
    maintenance_error: str | None = None  # everything is saved, but files could not be rolled up
