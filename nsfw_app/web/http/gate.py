"""Admission control for classification: slots, per-caller shares, and fair worker threads.

- A request holds an arrival slot while its body is received, then a classification slot: slow
  uploads do not keep others from the model.
- One caller holds at most a quarter of the slots and of the bytes.
- Classification has its own threads, which serve callers in turn: a backlog of images delays
  neither the page, nor the sign-in, nor other callers' images.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

import anyio
from fastapi import Request

from nsfw_app.concurrency_limits import ConcurrencyLimits
from nsfw_app.errors import NSFWReviewError, RequestTooLarge, Unavailable
from nsfw_app.imaging.decode import check_size
from nsfw_app.records import ImageProblem, Prediction, Review, Upload, WarningCode
from nsfw_app.review.engine import Engine
from nsfw_app.web.http.bodies import body
from nsfw_app.web.http.fair_threads import FairThreads
from nsfw_app.web.http.request_limits import RequestLimits
from nsfw_app.web.http.shares import Shares, share_key
from nsfw_app.web.http.slots import Slot, SlotPool
from nsfw_app.web.monitoring import Monitor

P = ParamSpec("P")
T = TypeVar("T")

CALLER: ContextVar[str] = ContextVar("caller", default="")  # of the request that this task serves


class ClassifyGate:
    """Access of routes to the engine.

    Args:
        engine: Classifies images.
        monitor: Counts reviews.
        concurrency: How many requests arrive, and are classified, at once; in all and per caller.
    """

    def __init__(self, engine: Engine, monitor: Monitor, *, concurrency: ConcurrencyLimits) -> None:
        self.engine = engine
        self.limits = RequestLimits(engine.limits.max_bytes)
        self._monitor = monitor
        slots = concurrency.request_slots, concurrency.caller_slots
        self._slots = SlotPool(
            *slots,
            caller_bytes=self.limits.caller_bytes,
            processing=Shares(*slots, "requests that are being classified"),
        )
        self._threads = FairThreads(concurrency.threads)

    @asynccontextmanager
    async def slot(self, request: Request) -> AsyncIterator[None]:
        """Hold a slot for one request, from before its body is read; see the module docstring.

        Raises:
            TooManyRequests: The caller's share is used up.
            Overloaded: No slot is free.
        """
        caller = share_key(request)
        slot = Slot(self._slots, caller)
        request.scope["state"]["arrival"] = slot
        token = CALLER.set(caller)
        try:
            yield
        finally:
            CALLER.reset(token)
            slot.release()

    async def review(self, data: bytes, upload: Upload) -> Review:
        """See `Engine.review`."""
        return self.record(await self.run(self.engine.review, data, upload))

    def record(self, review: Review) -> Review:
        """Count a review and return it."""
        self._monitor.record(review)
        return review

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a slow function in a classification thread."""
        return await self._threads.run(CALLER.get(), lambda: function(*args, **kwargs))

    async def file(self, request: Request, *, name: str) -> bytes:
        """Read a file that is the whole body of a request.

        Raises:
            ImageError: Empty, or over the limit.
        """
        limits = self.engine.limits
        try:
            data = await body(request, max_bytes=limits.max_bytes)
        except RequestTooLarge:
            check_size(limits.max_bytes + 1, name=name, limits=limits)
            raise
        check_size(len(data), name=name, limits=limits)
        return data


async def gather(*calls: Callable[[], Awaitable[T]]) -> list[T]:
    """Run calls concurrently and return their results in order.

    - The first error cancels the calls that wait; it is raised when running ones have ended.
    - Of several errors, one that is not of this package is raised first.
    """
    found: dict[int, T] = {}

    async def run(number: int, call: Callable[[], Awaitable[T]]) -> None:
        found[number] = await call()

    try:
        async with anyio.create_task_group() as group:
            for number, call in enumerate(calls):
                group.start_soon(run, number, call)
    except ExceptionGroup as errors:
        unexpected = [e for e in errors.exceptions if not isinstance(e, NSFWReviewError)]
        raise (unexpected or errors.exceptions)[0] from None
    return [found[number] for number in range(len(calls))]


def require_prediction(review: Review) -> Prediction:
    """The prediction of a review, for responses with a score and without an action.

    Raises:
        Unavailable: The image was not classified, or only a part of it: the score of that part
            must not read as the image's.
    """
    if review.image is not None and review.image.incomplete:
        missing = [w.message for w in review.warnings if w.code is WarningCode.TRUNCATED]
        raise Unavailable(WarningCode.TRUNCATED, f"{review.name}: {' '.join(missing)}")
    if review.prediction is None:
        problem = review.problem or ImageProblem("model", "The image was not classified.")
        raise Unavailable(problem.kind, problem.message)
    return review.prediction
