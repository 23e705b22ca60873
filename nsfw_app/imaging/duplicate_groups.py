"""Groups of near duplicates: images that a chain of near duplicates connects.

- Two images are near duplicates as `previews.are_near_duplicates` has it.
- All pairs are compared, in blocks that fit the processor's cache: a difference of up to 12 of 64
  bits leaves no part of the hash equal that is long enough to look candidates up by.
- Grids are compared only for pairs with near hashes that are not in one group yet.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from nsfw_app.imaging.previews import (
    COMPARED_BITS,
    FLAT_BITS,
    GRID_SIDE,
    HASH_BITS,
    HASH_DIGITS,
    NEAR_BITS,
    NEAR_CONTRAST,
    NEAR_LEVELS,
)

ROWS, COLUMNS = 256, 4_096  # of a block: 8 MB of differences
PAIRS = 4_096  # whose grids are compared at once: 6 MB of cells
ROUNDING = 1e-6  # levels; of a mean of a grid
CELLS = GRID_SIDE * GRID_SIDE * 3


def duplicate_groups(hashes: Sequence[str | None]) -> list[int]:
    """The group of each image, as the index of its first member.

    Args:
        hashes: Perceptual hashes; an image without one is alone in its group.
    """
    first_of: dict[str, int] = {}
    roots = list(range(len(hashes)))
    for index, text in enumerate(hashes):
        # A copy with the same hash and grid needs no comparison. Flat images without grids do.
        if text is not None and len(text) > HASH_DIGITS:
            roots[index] = first_of.setdefault(text, index)
    kept = [
        index for index, text in enumerate(hashes) if text is not None and roots[index] == index
    ]
    groups = _Comparison([str(hashes[index]) for index in kept]).groups()
    joined = {index: kept[group] for index, group in zip(kept, groups, strict=True)}
    return [joined.get(root, root) for root in roots]


class _Comparison:
    """Compares hashes, all of them different where they have grids."""

    def __init__(self, hashes: Sequence[str]) -> None:
        self._bits = np.array([int(text[:HASH_DIGITS], 16) for text in hashes], np.uint64)
        self._has_grid = np.array([len(text) > HASH_DIGITS for text in hashes], bool)
        self._grids = np.zeros((len(hashes), CELLS), np.uint8)
        for index, text in enumerate(hashes):
            if len(text) > HASH_DIGITS:
                self._grids[index] = np.frombuffer(bytes.fromhex(text[HASH_DIGITS:]), np.uint8)
        ones = np.bitwise_count(self._bits)
        self._flat = (ones < FLAT_BITS) | (ones > HASH_BITS - FLAT_BITS)
        # Grids are near where no cell differs by more than either image allows. The means of the
        # colors differ by as much at most, and most pairs fail by them.
        contrast = np.array([np.ptp(grid) for grid in self._grids], np.float64)
        self._allowed = np.maximum(NEAR_LEVELS, NEAR_CONTRAST * contrast)
        self._means = self._grids.reshape(len(hashes), GRID_SIDE**2, 3).mean(axis=1)
        self._roots = np.arange(len(hashes))

    def groups(self) -> list[int]:
        """The group of each hash, as the index of its first member."""
        for one, other in self._near_hashes():
            for start in range(0, len(one), PAIRS):
                self._join(one[start : start + PAIRS], other[start : start + PAIRS])
        return [int(root) for root in self._roots]

    def _near_hashes(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Pairs whose hashes differ in few bits, in blocks."""
        count = len(self._bits)
        for top in range(0, count, ROWS):
            rows = self._bits[top : top + ROWS, None]
            for left in range(top, count, COLUMNS):
                differing = np.bitwise_count(rows ^ self._bits[None, left : left + COLUMNS])
                near = np.flatnonzero(differing <= COMPARED_BITS)
                one, other = np.divmod(near, differing.shape[1])
                one, other = one + top, other + left
                yield one[one < other], other[one < other]

    def _join(self, one: NDArray[np.int64], other: NDArray[np.int64]) -> None:
        apart = self._roots[one] != self._roots[other]
        one, other = one[apart], other[apart]
        near = np.bitwise_count(self._bits[one] ^ self._bits[other]) <= NEAR_BITS
        near &= ~(self._flat[one] | self._flat[other])
        unsure = ~near & self._has_grid[one] & self._has_grid[other]
        near[unsure] = self._have_near_grids(one[unsure], other[unsure])
        links = np.unique(np.stack([self._roots[one[near]], self._roots[other[near]]]), axis=1)
        if not links.size:
            return
        changed: dict[int, int] = {}
        for first, second in links.T.tolist():
            roots = sorted((_root(changed, first), _root(changed, second)))
            if roots[0] != roots[1]:
                changed[roots[1]] = roots[0]
        moved = np.arange(len(self._roots))
        for root in changed:
            moved[root] = _root(changed, root)
        self._roots = moved[self._roots]

    def _have_near_grids(
        self, one: NDArray[np.int64], other: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        allowed = np.maximum(self._allowed[one], self._allowed[other])
        means = np.abs(self._means[one] - self._means[other]).max(axis=1, initial=0)
        found: NDArray[np.bool_] = means <= allowed + ROUNDING
        one, other = one[found], other[found]
        differences = np.maximum(self._grids[one], self._grids[other]) - np.minimum(
            self._grids[one], self._grids[other]
        )
        found[found] = differences.max(axis=1, initial=0) <= allowed[found]
        return found


def _root(changed: dict[int, int], index: int) -> int:
    while index in changed:
        index = changed[index]
    return index
