"""`gather`: results in order, and which error is raised when several calls fail."""

from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import anyio
import pytest

from nsfw_app.errors import ImageError, ImageErrorKind
from nsfw_app.web.http.gate import gather

T = TypeVar("T")


def run(function: Callable[[], Awaitable[T]]) -> T:
    """Run in a thread without an event loop: the browser tests keep one in this thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(anyio.run, function).result()


EXPECTED = ImageError(ImageErrorKind.EMPTY, "a.jpg is empty.")


@pytest.mark.parametrize(
    "errors", [(EXPECTED, KeyError("surprise")), (KeyError("surprise"), EXPECTED)]
)
def test_an_unexpected_error_is_raised_first(errors: tuple[Exception, ...]) -> None:
    """An unexpected error is raised in preference to a typed one."""

    async def ask() -> None:
        both = anyio.Event()
        here = []

        async def fail(error: Exception) -> None:
            here.append(error)
            if len(here) == len(errors):
                both.set()
            await both.wait()
            raise error

        await gather(*(lambda error=error: fail(error) for error in errors))

    with pytest.raises(KeyError, match="surprise"):
        run(ask)


def test_a_typed_error_is_raised() -> None:
    """A typed error is raised unchanged; results have the order of the calls."""

    async def one(number: int) -> int:
        await anyio.sleep(0.02 * (3 - number))
        return number

    async def refused() -> int:
        raise EXPECTED

    async def ask(*, last: bool) -> list[int]:
        calls = [lambda number=number: one(number) for number in range(3)]
        return await gather(*calls, *([refused] if last else []))

    assert run(lambda: ask(last=False)) == [0, 1, 2]
    with pytest.raises(ImageError, match="is empty"):
        run(lambda: ask(last=True))
