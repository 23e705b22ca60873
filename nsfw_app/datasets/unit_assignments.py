"""Which worker of a cluster scans which unit, and what happens to a unit whose worker is lost.

- A worker has two units at once, so that its model does not wait between units.
- A unit whose worker was lost is assigned again, to a worker that has no other unit: if the unit
  itself ends its workers, others are not lost with it. After `MAX_TRIES` it is given up.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from nsfw_app.datasets.entries import Unit

IN_FLIGHT = 2  # units of a worker
MAX_TRIES = 4


@dataclass(slots=True)
class Assignment:
    """A unit that is scanned, or waits to be scanned again.

    Attributes:
        number: Of the unit in this run.
        unit: What is scanned.
        tries: How often it was lost.
        reason: Why it was lost last.
    """

    number: int
    unit: Unit
    tries: int = 0
    reason: str = ""

    @property
    def name(self) -> str:
        """What messages call the unit: the container, or the first file of the group."""
        first, count = self.unit.entries[0].uri, len(self.unit.entries)
        return first if self.unit.is_container or count == 1 else f"{first} and {count - 1:,} more"


class Assignments:
    """Assigns units to workers. `failed` are those that were given up.

    Args:
        units: Taken when they are needed; those that are assigned are in memory.
    """

    def __init__(self, units: Iterator[Unit]) -> None:
        self.failed: list[Assignment] = []
        self._units = enumerate(units)
        self._is_exhausted = False
        self._again: deque[Assignment] = deque()
        self._of_worker: dict[str, dict[int, Assignment]] = {}
        self._draining: set[str] = set()  # workers that finish their units to take one of `_again`

    @property
    def in_flight(self) -> int:
        """How many units are assigned."""
        return sum(map(len, self._of_worker.values()))

    @property
    def is_done(self) -> bool:
        """Whether no unit is left: each was scanned or given up."""
        return self._is_exhausted and not self._again and not self.in_flight

    def next(self, worker: str) -> Assignment | None:
        """Assign a unit; None where the worker has enough, or none is left."""
        own = self._of_worker.setdefault(worker, {})
        if len(own) >= IN_FLIGHT or any(each.tries for each in own.values()):
            return None
        is_needed = worker in self._draining or len(self._draining) < len(self._again)
        if own and self._again and is_needed:
            self._draining.add(worker)
            return None
        self._draining.discard(worker)
        assigned = self._again.popleft() if self._again and not own else self._first()
        if assigned is not None:
            own[assigned.number] = assigned
        return assigned

    def finish(self, worker: str, number: int) -> bool:
        """Note that a unit is scanned; False where it is not that worker's any more."""
        return self._of_worker.get(worker, {}).pop(number, None) is not None

    def fail(self, worker: str, number: int, reason: str) -> None:
        """Note that a unit could not be scanned: it is assigned again, or given up."""
        assigned = self._of_worker.get(worker, {}).pop(number, None)
        if assigned is None:
            return
        assigned.tries += 1
        assigned.reason = reason
        (self._again if assigned.tries < MAX_TRIES else self.failed).append(assigned)

    def lose(self, worker: str, reason: str) -> None:
        """Note that a worker ended, perhaps because of one of its units."""
        for number in list(self._of_worker.get(worker, {})):
            self.fail(worker, number, reason)
        self._remove(worker)

    def withdraw(self, worker: str) -> None:
        """Take back the units of a worker that cannot scan any, for reasons of its own."""
        self._again.extend(self._of_worker.get(worker, {}).values())
        self._remove(worker)

    def _remove(self, worker: str) -> None:
        self._of_worker.pop(worker, None)
        self._draining.discard(worker)

    def _first(self) -> Assignment | None:
        """The next unit of the sources."""
        for number, unit in self._units:
            return Assignment(number, unit)
        self._is_exhausted = True
        return None
