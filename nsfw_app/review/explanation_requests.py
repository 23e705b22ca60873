"""Requests for explanations: queued, computed one at a time, polled, cancelled, forgotten.

- Equal requests of one owner are one request with several callers.
- A request that no caller polls for `POLL_TIMEOUT_S` is cancelled: its page was closed.
"""

import logging
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from PIL import Image

from nsfw_app.concurrency_limits import quarter
from nsfw_app.errors import NotFound, NSFWReviewError, Overloaded
from nsfw_app.explain_errors import ExplanationCancelled
from nsfw_app.models.explain.explanation import Explanation
from nsfw_app.models.scheduler import MODEL_FAILED
from nsfw_app.records import ImageProblem, ModelIdentity, Prediction
from nsfw_app.rules.permissions import Caller

log = logging.getLogger(__name__)

MAX_WAITING = 16  # requests that wait or are computed; one caller holds a quarter at most
POLL_TIMEOUT_S = 10.0  # the page polls several times a second; a busy server may be slower
RETRY_AFTER_S = 5  # in which one or two explanations are computed
KEPT_S = 60.0  # how long the result of a request can be polled

Pixels = Callable[[], tuple[Image.Image, Prediction]]  # decodes the frame of a prediction


class ExplanationState(StrEnum):
    """State of a request. One that waits is `running` with a progress of 0."""

    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ExplanationStatus:
    """A request as its caller sees it.

    - `id` is what it is polled and cancelled by; empty where it was done before.
    - `progress` is the part that is done, in [0, 1].
    - `explanation` is set when it is done, `error` when it failed.
    """

    status: ExplanationState
    progress: float
    id: str
    explanation: Explanation | None = None
    error: ImageProblem | None = None


@dataclass(slots=True)
class ExplanationRequest:
    """A request, its state, and when it was polled last.

    - `callers` counts those who wait for it: pages and API requests of one owner.
    - `pixels` may hold the bytes of a file, and is None once it is decoded or cancelled.
    """

    owner: str | None
    subject: tuple[str, ModelIdentity]
    prediction_id: int
    pixels: Pixels | None
    callers: int = 1
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    polled_at: float = field(default_factory=time.monotonic)
    progress: float = 0.0
    is_cancelled: bool = False
    state: ExplanationState = ExplanationState.RUNNING
    explanation: Explanation | None = None
    error: ImageProblem | None = None

    @property
    def is_wanted(self) -> bool:
        """Whether a caller still waits for it."""
        return not self.is_cancelled and time.monotonic() - self.polled_at <= POLL_TIMEOUT_S

    def advance(self, progress: float) -> bool:
        """Note the progress; returns whether to go on."""
        self.progress = max(self.progress, progress)
        return self.is_wanted

    def decoded(self) -> tuple[Image.Image, Prediction]:
        """The frame and its prediction; the bytes of its file are dropped.

        Raises:
            ExplanationCancelled: No caller waits for it any more.
        """
        pixels, self.pixels = self.pixels, None
        if pixels is None or not self.is_wanted:
            raise ExplanationCancelled
        return pixels()

    def cancel(self) -> None:
        """End it after the part that is computed now."""
        self.is_cancelled, self.pixels = True, None

    def end(self, state: ExplanationState, **result: Any) -> None:
        """Set the result."""
        self.explanation, self.error = result.get("explanation"), result.get("error")
        self.state = state

    @property
    def status(self) -> ExplanationStatus:
        """The request as its caller sees it."""
        done = self.state is ExplanationState.DONE
        progress = 1.0 if done else self.progress
        return ExplanationStatus(self.state, progress, self.id, self.explanation, self.error)


class ExplanationRequests:
    """The requests of a process. Several threads may use it.

    Args:
        compute: The explanation of a request; called in one thread.
    """

    def __init__(self, compute: Callable[[ExplanationRequest], Explanation]) -> None:
        self._compute = compute
        self._lock = threading.Lock()
        self._requests: dict[str, ExplanationRequest] = {}
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="explanations")

    def add(self, request: ExplanationRequest) -> ExplanationStatus:
        """Queue a request; where the caller has an equal one that runs, it is returned instead.

        Raises:
            Overloaded: Too many requests wait.
        """
        with self._lock:
            self._forget_old()
            running = [
                r
                for r in self._requests.values()
                if r.state is ExplanationState.RUNNING and r.is_wanted
            ]
            own = [r for r in running if r.owner == request.owner]
            for other in own:
                if other.subject == request.subject:
                    other.callers += 1
                    other.polled_at = time.monotonic()
                    return other.status
            if len(own) >= quarter(MAX_WAITING) or len(running) >= MAX_WAITING:
                raise Overloaded(
                    f"{len(running)} explanations are waiting, {len(own)} of them yours. Try again "
                    f"in {RETRY_AFTER_S} seconds.",
                    retry_after_s=RETRY_AFTER_S,
                )
            self._requests[request.id] = request
        self._worker.submit(self._run, request)
        return request.status

    def find(self, request_id: str, caller: Caller) -> ExplanationRequest:
        """A caller's request, noted as polled.

        Raises:
            NotFound: The caller made no such request, or it ended long ago.
        """
        with self._lock:
            request = self._requests.get(request_id)
            if request is not None and request.owner == caller.owner:
                request.polled_at = time.monotonic()
                self._forget_old()
                return request
        raise NotFound("There is no such explanation. Request it again.")

    def leave(self, request: ExplanationRequest) -> None:
        """Let one caller wait no more; the request is cancelled with its last caller."""
        with self._lock:
            request.callers -= 1
            if request.callers <= 0:
                request.cancel()

    def _forget_old(self) -> None:
        """Drop results that no caller fetched, and cancel requests that no caller polls."""
        before = time.monotonic() - KEPT_S
        for request in self._requests.values():
            if not request.is_wanted:
                request.cancel()
        self._requests = {
            key: request
            for key, request in self._requests.items()
            if request.state is ExplanationState.RUNNING or request.polled_at >= before
        }

    def _run(self, request: ExplanationRequest) -> None:
        """Compute a request's explanation; every error ends up in its state."""
        try:
            explanation = self._compute(request)
            request.end(ExplanationState.DONE, explanation=explanation)
        except ExplanationCancelled:
            request.end(ExplanationState.CANCELLED)
        except NSFWReviewError as error:
            request.end(ExplanationState.FAILED, error=ImageProblem(error.kind, str(error)))
        except Exception:  # of any library; else the request would seem to run forever
            log.exception("An explanation failed.")
            problem = ImageProblem("prediction_failed", MODEL_FAILED)
            request.end(ExplanationState.FAILED, error=problem)
