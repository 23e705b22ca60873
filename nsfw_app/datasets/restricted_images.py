"""Restricted images, and the rows of a scan that show one or a near duplicate of one."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from nsfw_app.imaging.previews import COMPARED_BITS, HASH_DIGITS, are_near_duplicates


class RestrictedImages:
    """Images that are never kept; each row is compared with each of them, because they are few.

    Args:
        hashes: Their perceptual hashes, None where unknown, by SHA-256.
    """

    def __init__(self, hashes: Mapping[str, str | None]) -> None:
        self._hashes = frozenset(hashes)
        self._perceptual = sorted({each for each in hashes.values() if each is not None})

    def among(self, table: pa.Table) -> frozenset[int]:
        """The numbers of the rows that are restricted, or near duplicates of restricted images."""
        if not self._hashes:
            return frozenset()
        hashes = table["sha256"].to_pylist()
        found = {number for number, each in enumerate(hashes) if each in self._hashes}
        if self._perceptual:
            found |= self._near(table["perceptual_hash"].to_pylist())
        return frozenset(found)

    def _near(self, hashes: list[str | None]) -> set[int]:
        known = [(number, text) for number, text in enumerate(hashes) if text is not None]
        bits = np.array([_bits(text) for _, text in known], np.uint64)
        return {
            known[at][0]
            for restricted in self._perceptual
            for at in np.flatnonzero(np.bitwise_count(bits ^ _bits(restricted)) <= COMPARED_BITS)
            if are_near_duplicates(known[at][1], restricted)
        }


def _bits(perceptual_hash: str) -> np.uint64:
    return np.uint64(int(perceptual_hash[:HASH_DIGITS], 16))
