"""Names of the shards of an output: one number, as in `train-%06d.tar`, is that of the shard."""

import glob
import re
from pathlib import Path

from nsfw_app.dataset_errors import ScanFilterError

NUMBER = re.compile(r"%0?\d*d")  # any other % is a character of the name
FIRST = 10_000  # shards whose names are compared with the patterns of a scan


def has_number(pattern: str) -> bool:
    """Whether a name is that of shards."""
    return NUMBER.search(pattern) is not None


def name(pattern: str, shard: int) -> str:
    """The name of a shard."""
    return NUMBER.sub(lambda number: number[0] % shard, pattern)


def first_names(pattern: str) -> list[str]:
    """The names of the first shards; the name itself where it has no number."""
    return [name(pattern, shard) for shard in range(FIRST)] if has_number(pattern) else [pattern]


def existing(path: Path) -> list[Path]:
    """The files that have the name of a shard, sorted; none where the name has no number.

    Raises:
        ScanFilterError: It has several numbers.
    """
    numbers = NUMBER.findall(path.name)
    if len(numbers) > 1:
        raise ScanFilterError(
            f"The name {path.name} has {len(numbers)} numbers of shards ({', '.join(numbers)}); "
            "the limit is one."
        )
    parts = map(glob.escape, NUMBER.split(path.name))
    return sorted(path.parent.glob("*".join(parts))) if numbers else []
