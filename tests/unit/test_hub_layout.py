"""Files in the dataset repository: paths, which of them count, how many there are after a year."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from nsfw_app.hub_sync.layout import BatchFile, chain, latest_history, parse, roll_ups

HISTORY = "20260101T000000Z-0123abcd"
YEAR_MINUTES = 365 * 24 * 60


def file(first: int, last: int, generation: int = 1, writer: str = "aaaaaaaa") -> BatchFile:
    """A file of this history."""
    return BatchFile("main", HISTORY, first, last, generation, writer)


def ranges(files: Sequence[BatchFile]) -> list[tuple[int, int]]:
    """First and last batches."""
    return [(each.first, each.last) for each in files]


def test_a_path_is_read_as_it_was_written() -> None:
    """Other files of the repository are none of batches."""
    made = file(3, 60, 2)
    assert made.path == f"data/main/{HISTORY}/0000000003-0000000060-000002-aaaaaaaa.parquet"
    assert parse([made.path, "README.md", f"data/main/{HISTORY}/x.parquet"]) == [made]


def test_the_history_that_began_last_is_restored() -> None:
    """Of the same server; histories of others do not count."""
    newer = replace(file(1, 1), history="20260301T000000Z-00000000")
    other = replace(newer, instance="other", history="20270101T000000Z-00000000")
    assert latest_history([newer, file(1, 9), other], "main") == newer.history
    assert latest_history([other], "main") is None


def test_a_chain_has_each_batch_once() -> None:
    """Files are in order, and one that was rolled up counts instead of its parts."""
    files = [file(61, 61), file(1, 60), file(62, 62)]
    assert ranges(chain(files, "main", HISTORY).files) == [(1, 60), (61, 61), (62, 62)]
    both = chain([*files, file(60, 60)], "main", HISTORY)
    assert ranges(both.files) == [(1, 60), (61, 61), (62, 62)]
    assert ranges(both.diverged) == [(60, 60)]


def test_the_server_that_was_restored_counts() -> None:
    """What the earlier one saves since is left out, also where that is more."""
    later = [file(43, 43, 2, "bbbbbbbb"), file(44, 44, 2, "bbbbbbbb")]
    earlier = [file(number, number) for number in range(43, 60)]
    found = chain([file(1, 42), *earlier, *later], "main", HISTORY)
    assert found.files == (file(1, 42), *later)
    assert set(found.diverged) == set(earlier)
    assert (found.last, found.generation) == (44, 2)


def test_a_year_of_minutes_is_few_files() -> None:
    """Every batch of a year is in one file, of fewer than 200, however many commits were made."""
    files: list[BatchFile] = []
    most = 0
    for hour in range(YEAR_MINUTES // 60):
        files += [file(60 * hour + minute, 60 * hour + minute) for minute in range(1, 61)]
        most = max(most, len(files))
        while runs := roll_ups(files):
            run = runs[0]
            at = files.index(run[0])
            files[at : at + len(run)] = [replace(run[-1], first=run[0].first)]
    assert most < 200
    assert len(files) < 100
    assert files[0].first == 1
    assert all(after.first == before.last + 1 for before, after in pairwise(files))
    assert files[-1].last == YEAR_MINUTES
    assert chain(files, "main", HISTORY).files == tuple(files)


def test_files_that_could_not_be_rolled_up_for_long_are_afterwards() -> None:
    """A run that is longer than a day becomes one file, and those before it are not left apart."""
    files = [file(60 * hour + 1, 60 * hour + 60) for hour in range(23)]
    files += [file(1380 + minute, 1380 + minute) for minute in range(1, 3001)]
    (run,) = roll_ups(files)
    assert ranges([run[0], run[-1]]) == [(1381, 1381), (4380, 4380)]
