"""Groups of near duplicates, as a comparison of every pair gives them."""

import random
import time

import pytest

from nsfw_app.imaging.duplicate_groups import duplicate_groups
from nsfw_app.imaging.previews import GRID_SIDE, are_near_duplicates

CELLS = GRID_SIDE * GRID_SIDE * 3


def varied(rng: random.Random, text: str) -> str:
    """A hash that differs in some bits, and whose grid differs by some levels."""
    bits = int(text[:16], 16)
    for _ in range(rng.choice((0, 2, 4, 5, 9, 12, 13))):
        bits ^= 1 << rng.randrange(64)
    if len(text) == 16 or rng.random() < 0.1:
        return f"{bits:016x}"
    levels = rng.choice((0, 3, 6, 7, 20))
    cells = [min(255, cell + rng.choice((0, levels))) for cell in bytes.fromhex(text[16:])]
    return f"{bits:016x}{bytes(cells).hex()}"


def hashes(rng: random.Random, count: int) -> list[str | None]:
    """Hashes of which many are near: ordinary, flat, without grid, unknown, equal."""
    found: list[str | None] = [None, None]
    while len(found) < count:
        known = [text for text in found if text]
        if known and rng.random() < 0.7:
            found.append(rng.choice((varied(rng, rng.choice(known)), rng.choice(known))))
        else:
            bits = rng.choice((rng.getrandbits(64), 0, (1 << 64) - 1, 0xFFFFF))
            low = rng.randrange(200)
            grid = bytes(rng.randrange(low, low + rng.choice((1, 40))) for _ in range(CELLS))
            found.append(f"{bits:016x}{rng.choice((grid.hex(), grid.hex(), ''))}")
    return found


@pytest.mark.parametrize("seed", range(8))
def test_groups_are_those_of_every_pair(seed: int) -> None:
    """Two images share a group exactly where a chain of near duplicates connects them."""
    drawn = hashes(random.Random(seed), 150)
    expected = list(range(len(drawn)))
    for one, text in enumerate(drawn):
        for other in range(one):
            if are_near_duplicates(text, drawn[other]):
                low, high = sorted((expected[one], expected[other]))
                expected = [low if group == high else group for group in expected]
    assert duplicate_groups(drawn) == expected
    assert len({*expected}) < len(drawn) - 20


def test_an_empty_set_has_no_groups() -> None:
    """Neither no images nor images without a hash fail."""
    assert duplicate_groups([]) == []
    assert duplicate_groups([None, None]) == [0, 1]


def test_flat_images_take_seconds() -> None:
    """Thousands of nearly equal flat images, each pair of which is near, join one group soon."""
    rng = random.Random(1)
    flat = [
        f"{0:016x}{bytes(100 + rng.randrange(3) for _ in range(CELLS)).hex()}" for _ in range(3_000)
    ]
    start = time.perf_counter()
    assert set(duplicate_groups(flat)) == {0}
    assert time.perf_counter() - start < 10
