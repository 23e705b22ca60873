"""When sessions and API keys were last used, written once a minute for all of them together.

A request only notes the time in memory, so it does not wait for the disk. A killed process loses
the last minute.
"""

import threading
from datetime import UTC, datetime

from nsfw_app.records import utc
from nsfw_app.store import Store


class LastUse:
    """Collects times of use, and writes them. Thread-safe.

    Args:
        store: Stores them.
    """

    def __init__(self, store: Store) -> None:
        self._sessions = store.sessions
        self._keys = store.keys
        self._lock = threading.Lock()
        self._seen: dict[str, str] = {}
        self._used: dict[str, str] = {}

    def session(self, token_sha256: str) -> None:
        """Note that a session is in use now."""
        with self._lock:
            self._seen[token_sha256] = _now()

    def key(self, name: str) -> None:
        """Note that a key is in use now."""
        with self._lock:
            self._used[name] = _now()

    def write(self) -> None:
        """Write what was noted since the last time.

        Raises:
            StorageError: It could not be written; it is lost, and the next use is noted again.
        """
        with self._lock:
            seen, self._seen = self._seen, {}
            used, self._used = self._used, {}
        if seen:
            self._sessions.set_last_seen(seen)
        if used:
            self._keys.set_last_used(used)


def _now() -> str:
    return utc(datetime.now(UTC).isoformat())
