"""Sessions of Gradio's queue: each is owned by the caller that used it first.

Gradio identifies a session by a string that the browser chooses, and returns its results to any
caller that sends it. This is the only module that uses the internals of Gradio's queue.
"""

from collections import OrderedDict

import gradio as gr

from nsfw_app.concurrency_limits import quarter
from nsfw_app.errors import NotFound, TooManyRequests
from nsfw_app.web.http.shares import RETRY_AFTER_S, share_key

MAX_SESSIONS = 2_000  # that are remembered; the least recently used is dropped


class GradioSessions:
    """Owners of sessions.

    Args:
        blocks: The page with the queue.
    """

    def __init__(self, blocks: gr.Blocks) -> None:
        self._blocks = blocks
        self._owners: OrderedDict[str, str] = OrderedDict()

    def join(self, session: str, caller: str) -> None:
        """Check that a caller may use a session; an unknown session becomes the caller's.

        Raises:
            NotFound: The session belongs to another caller.
            TooManyRequests: The caller's share of the queue is used up.
        """
        if self._owners.setdefault(session, caller) != caller:
            raise NotFound("No such session of yours.")
        self._owners.move_to_end(session)
        self._forget_oldest(caller)
        if (size := self._blocks._queue.max_size) is not None and self._waiting(caller) >= quarter(
            size
        ):
            raise TooManyRequests(
                f"{quarter(size)} of your calls are waiting, which is your share of the queue. "
                f"Try again in {RETRY_AFTER_S} second.",
                retry_after_s=RETRY_AFTER_S,
            )

    def check(self, session: str, caller: str, *, event: str | None = None) -> None:
        """Check that a session and one of its calls belong to a caller.

        Args:
            session: The session.
            caller: Key of the caller's share.
            event: A call in the session.

        Raises:
            NotFound: It belongs to another caller, or is unknown to Gradio.
        """
        queue = self._blocks._queue
        found = queue.event_ids_to_events.get(event)
        if (
            self._owners.get(session) != caller
            or session not in queue.pending_messages_per_session
            or (found is not None and found.session_hash != session)
        ):
            raise NotFound("No such session of yours.")

    def _forget_oldest(self, caller: str) -> None:
        """Drop the caller's oldest session if it has too many, then the oldest of all."""
        owned = [session for session, owner in self._owners.items() if owner == caller]
        if len(owned) > quarter(MAX_SESSIONS):
            self._end(owned[0])
        if len(self._owners) > MAX_SESSIONS:
            self._owners.popitem(last=False)

    def _end(self, session: str) -> None:
        queue = self._blocks._queue
        for event in list(queue.event_ids_to_events.values()):
            if event.session_hash == session:
                event.alive = False  # its results are dropped
        queue.pending_messages_per_session.pop(session, None)
        del self._owners[session]

    def _waiting(self, caller: str) -> int:
        """Number of a caller's calls in the queue."""
        queues = self._blocks._queue.event_queue_per_concurrency_id.values()
        return sum(share_key(event.request) == caller for queue in queues for event in queue.queue)
