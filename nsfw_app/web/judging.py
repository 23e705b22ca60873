"""The one way from a request to the engine: only so many at once, each counted.

Bodies are read only after a place was had, so that a crowd of uploads is turned away instead of
piling up in memory. Judging has threads of its own: however many images wait for the model, the
page and the sign-in still answer.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import ParamSpec, TypeVar

import anyio
import anyio.to_thread
from fastapi import Request

from nsfw_app.engine import Engine
from nsfw_app.errors import NSFWReviewError, Overloaded, RequestTooLarge, Unavailable
from nsfw_app.images import check_size
from nsfw_app.records import Prediction, Problem, Review, Upload, WarningCode
from nsfw_app.web.bodies import body
from nsfw_app.web.monitoring import Monitor

P = ParamSpec("P")
T = TypeVar("T")

RETRY_AFTER_S = 1


class Judging:
    """Judges for routes.

    Args:
        engine: What judges.
        monitor: What counts.
        max_requests: Requests that may be under way; one more is told to come back.
        threads: Images that may be judged at once.
    """

    def __init__(
        self, engine: Engine, monitor: Monitor, *, max_requests: int, threads: int
    ) -> None:
        self.engine = engine
        self._monitor = monitor
        self._max_requests = max_requests
        self._requests = 0
        self._threads = anyio.CapacityLimiter(threads)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place for one request, from before its body is read.

        Raises:
            Overloaded: None is free.
        """
        if self._requests >= self._max_requests:
            raise Overloaded(
                f"{self._max_requests} requests are being judged already. Try again in a moment.",
                retry_after_s=RETRY_AFTER_S,
            )
        self._requests += 1
        try:
            yield
        finally:
            self._requests -= 1

    async def review(self, data: bytes, upload: Upload) -> Review:
        """See `Engine.review`; without an owner no picture is kept."""
        return self.counted(await self.run(self.engine.review, data, upload))

    def counted(self, review: Review) -> Review:
        """The same review, counted."""
        self._monitor.judged(review)
        return review

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call something that takes long in one of the threads for it."""
        return await anyio.to_thread.run_sync(
            lambda: function(*args, **kwargs), limiter=self._threads
        )

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


async def all_of(*calls: Callable[[], Awaitable[T]]) -> list[T]:
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


def judged(review: Review) -> Prediction:
    """The prediction of a review, for answers that have a score and no action.

    Raises:
        Unavailable: The image could not be judged, or only a part of it: the score of that part
            must not read as the image's.
    """
    if review.image is not None and review.image.incomplete:
        missing = [w.message for w in review.warnings if w.code is WarningCode.TRUNCATED]
        raise Unavailable(WarningCode.TRUNCATED, f"{review.name}: {' '.join(missing)}")
    if review.prediction is None:
        problem = review.problem or Problem("model", "The image was not judged.")
        raise Unavailable(problem.kind, problem.message)
    return review.prediction
