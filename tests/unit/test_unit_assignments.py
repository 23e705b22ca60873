"""Assignments of units to workers: each unit ends once, or is given up by itself."""

import random

import pytest

from nsfw_app.datasets.entries import Entry, Unit
from nsfw_app.datasets.unit_assignments import IN_FLIGHT, MAX_TRIES, Assignments


def units(count: int) -> list[Unit]:
    """Groups of two files."""
    return [Unit([Entry(f"{n}/a.png", ""), Entry(f"{n}/b.png", "")]) for n in range(count)]


def numbers(assignments: Assignments, worker: str) -> list[int]:
    """The numbers of all units that a worker is given now."""
    found = []
    while (assigned := assignments.next(worker)) is not None:
        found.append(assigned.number)
    return found


def test_each_worker_has_two_units() -> None:
    """A further one when it has ended one; units are taken only then."""
    taken = iter(units(100))
    assignments = Assignments(taken)
    assert numbers(assignments, "a") == [0, 1]
    assert numbers(assignments, "b") == [2, 3]
    assert assignments.finish("a", 0)
    assert numbers(assignments, "a") == [4]
    assert assignments.in_flight == 2 * IN_FLIGHT
    assert len(list(taken)) == 95


def test_all_units_end() -> None:
    """It is done when the last one has ended, not when it is assigned."""
    assignments = Assignments(iter(units(2)))
    assert numbers(assignments, "a") == [0, 1]
    assert not assignments.is_done
    assignments.finish("a", 0)
    assignments.finish("a", 1)
    assert assignments.next("a") is None
    assert assignments.is_done


def test_units_of_a_lost_worker_are_assigned_again_alone() -> None:
    """Each to a worker without another unit, so that one cannot take others with it."""
    assignments = Assignments(iter(units(10)))
    assert numbers(assignments, "a") == [0, 1]
    assert numbers(assignments, "b") == [2, 3]
    assignments.lose("a", "It ended.")
    assert not assignments.finish("a", 0)  # it was not dead, and is too late
    assert numbers(assignments, "b") == []  # it ends its units first
    assignments.finish("b", 2)
    assert numbers(assignments, "b") == []
    assignments.finish("b", 3)
    assert numbers(assignments, "b") == [0]
    assert numbers(assignments, "c") == [1]
    assignments.finish("b", 0)
    assert numbers(assignments, "b") == [4, 5]


def test_other_workers_go_on() -> None:
    """Only as many workers wait for a lost unit as there are lost units."""
    assignments = Assignments(iter(units(20)))
    for worker in "abcd":
        numbers(assignments, worker)
    assignments.finish("a", 0)
    assignments.lose("a", "It ended.")
    for worker, number in (("b", 2), ("c", 4), ("d", 6)):
        assignments.finish(worker, number)
    assert numbers(assignments, "b") == []
    assert [len(numbers(assignments, worker)) for worker in "cd"] == [1, 1]


def test_a_unit_that_ends_its_workers_is_given_up() -> None:
    """After a number of tries; its neighbors end."""
    assignments = Assignments(iter(units(4)))
    ended, started = set(), 0
    while not assignments.is_done and started < 50:
        started += 1
        worker = f"worker {started}"
        while given := numbers(assignments, worker):
            if 1 in given:
                assignments.lose(worker, "Out of memory.")
                break
            ended |= {number for number in given if assignments.finish(worker, number)}
        else:
            assignments.lose(worker, "")
    assert ended == {0, 2, 3}
    (failed,) = assignments.failed
    assert (failed.number, failed.tries, failed.reason) == (1, MAX_TRIES, "Out of memory.")
    assert failed.name == "1/a.png and 1 more"


def test_units_of_a_worker_that_cannot_scan_are_not_tries() -> None:
    """As often as nodes have a full disk: the unit is not given up."""
    assignments = Assignments(iter(units(2)))
    for number in range(2 * MAX_TRIES):
        assert numbers(assignments, str(number))
        assignments.withdraw(str(number))
    assert not assignments.failed
    assert numbers(assignments, "last")


@pytest.mark.parametrize("seed", range(20))
def test_each_unit_ends_once(seed: int) -> None:
    """With workers that are lost, fail and join at random moments."""
    choose = random.Random(seed)
    assignments = Assignments(iter(units(200)))
    workers, held, ended, joined = {"w0", "w1", "w2"}, dict[str, set[int]](), list[int](), 3
    for _ in range(20_000):
        if assignments.is_done:
            break
        worker = choose.choice(sorted(workers))
        held.setdefault(worker, set()).update(numbers(assignments, worker))
        chance = choose.random()
        if chance < 0.02:
            assignments.lose(worker, "lost")
            held.pop(worker)
            workers = workers - {worker} | {f"w{joined}"}
            joined += 1
        elif held[worker]:
            number = held[worker].pop()
            if chance < 0.03:
                assignments.fail(worker, number, "failed")
            elif assignments.finish(worker, number):
                ended.append(number)
    assert assignments.is_done
    assert sorted(ended + [each.number for each in assignments.failed]) == list(range(200))
