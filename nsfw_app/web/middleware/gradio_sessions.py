"""Sessions of Gradio's queue: each belongs to the caller that used it first.

Gradio knows a session by a text that the browser chose, and gives its results to any caller that
sends the same text. This module is the only one that looks inside Gradio's queue.
"""

from collections import OrderedDict

import gradio as gr

from nsfw_app.concurrency_limits import quarter
from nsfw_app.errors import NotFound, TooManyRequests
from nsfw_app.web.http.shares import RETRY_AFTER_S, share_key

MAX_SESSIONS = 2_000  # that Gradio remembers; it forgets the one that was not used for longest


class GradioSessions:
    """Who owns which session.

    Args:
        blocks: The page whose queue it is.
    """

    def __init__(self, blocks: gr.Blocks) -> None:
        self._blocks = blocks
        self._owners: OrderedDict[str, str] = OrderedDict()

    def join(self, session: str, caller: str) -> None:
        """Let a caller use a session, which belongs to it from now on.

        Raises:
            NotFound: It belongs to another caller.
            TooManyRequests: The caller has used up its part of the queue.
        """
        if self._owners.setdefault(session, caller) != caller:
            raise NotFound("No such session of yours.")
        self._owners.move_to_end(session)
        self._forget_oldest(caller)
        if (size := self._blocks._queue.max_size) is not None and self._waiting(caller) >= quarter(
            size
        ):
            raise TooManyRequests(
                f"{quarter(size)} of your calls are waiting, which is your part of the queue. "
                f"Try again in {RETRY_AFTER_S} second.",
                retry_after_s=RETRY_AFTER_S,
            )

    def check(self, session: str, caller: str, *, event: str | None = None) -> None:
        """Let a caller read or cancel only what belongs to it.

        Args:
            session: The session.
            caller: Who asks.
            event: One call in it.

        Raises:
            NotFound: It is another caller's, or unknown to Gradio.
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
        """Forget the caller's oldest session where it has too many, then the oldest of all."""
        mine = [session for session, owner in self._owners.items() if owner == caller]
        if len(mine) > quarter(MAX_SESSIONS):
            self._end(mine[0])
        if len(self._owners) > MAX_SESSIONS:
            self._owners.popitem(last=False)

    def _end(self, session: str) -> None:
        queue = self._blocks._queue
        for event in list(queue.event_ids_to_events.values()):
            if event.session_hash == session:
                event.alive = False  # its results go nowhere any more
        queue.pending_messages_per_session.pop(session, None)
        del self._owners[session]

    def _waiting(self, caller: str) -> int:
        """How many calls of a caller wait in the queue."""
        queues = self._blocks._queue.event_queue_per_concurrency_id.values()
        return sum(share_key(event.request) == caller for queue in queues for event in queue.queue)
