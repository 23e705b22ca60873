"""The way from a request to the engine: places that callers share, and threads of its own.

- A request has a place among those that arrive, and when its body is complete, one among those
  that are judged: a slow upload does not keep others from the model.
- One caller holds a quarter of the places at most, and a quarter of the bytes.
- Judging has threads of its own, in which callers take turns: however many images wait for the
  model, the page and the sign-in still answer, and no caller waits for all images of another.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

import anyio
from fastapi import Request

from nsfw_app.concurrency_limits import quarter
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

CALLER: ContextVar[str] = ContextVar("caller", default="")  # whose request this task serves


class ClassifyGate:
    """Judges for routes.

    Args:
        engine: What judges.
        monitor: What counts.
        max_requests: Requests whose bodies may arrive, and requests that may be judged, at once.
        threads: Images that may be judged at once.
    """

    def __init__(
        self, engine: Engine, monitor: Monitor, *, max_requests: int, threads: int
    ) -> None:
        self.engine = engine
        self.limits = RequestLimits(engine.limits.max_bytes)
        self._monitor = monitor
        judged = Shares(max_requests, quarter(max_requests), "requests that are being judged")
        self._places = SlotPool(max_requests, caller_bytes=self.limits.caller_bytes, then=judged)
        self._threads = FairThreads(threads)

    @asynccontextmanager
    async def slot(self, request: Request) -> AsyncIterator[None]:
        """A place for one request, from before its body is read; see the module.

        Raises:
            TooManyRequests: The caller holds its part already.
            Overloaded: None is free.
        """
        caller = share_key(request)
        place = Slot(self._places, caller)
        request.scope["state"]["arrival"] = place
        token = CALLER.set(caller)
        try:
            yield
        finally:
            CALLER.reset(token)
            place.leave()

    async def review(self, data: bytes, upload: Upload) -> Review:
        """See `Engine.review`."""
        return self.record(await self.run(self.engine.review, data, upload))

    def record(self, review: Review) -> Review:
        """The same review, counted."""
        self._monitor.record(review)
        return review

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call something that takes long in one of the threads for it."""
        return await self._threads.run(CALLER.get(), lambda: function(*args, **kwargs))

    async def file(self, request: Request, *, name: str) -> bytes:
        """The bytes of a file that is the whole body, never more than the limit.

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
    """What each of some calls gives, in their order, made side by side.

    The first error ends them all: those that wait are not made any more, and it is raised when
    those under way have ended. One that nobody foresaw goes before the others.
    """
    found: dict[int, T] = {}

    async def make(number: int, call: Callable[[], Awaitable[T]]) -> None:
        found[number] = await call()

    try:
        async with anyio.create_task_group() as group:
            for number, call in enumerate(calls):
                group.start_soon(make, number, call)
    except ExceptionGroup as errors:
        unforeseen = [e for e in errors.exceptions if not isinstance(e, NSFWReviewError)]
        raise (unforeseen or errors.exceptions)[0] from None
    return [found[number] for number in range(len(calls))]


def require_prediction(review: Review) -> Prediction:
    """The prediction of a review, for answers that have a score and no action.

    Raises:
        Unavailable: The image could not be judged, or only a part of it: the score of that part
            must not read as the image's.
    """
    if review.image is not None and review.image.incomplete:
        missing = [w.message for w in review.warnings if w.code is WarningCode.TRUNCATED]
        raise Unavailable(WarningCode.TRUNCATED, f"{review.name}: {' '.join(missing)}")
    if review.prediction is None:
        problem = review.problem or ImageProblem("model", "The image was not judged.")
        raise Unavailable(problem.kind, problem.message)
    return review.prediction
