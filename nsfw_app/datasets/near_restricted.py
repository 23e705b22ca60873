"""Near duplicates of restricted images: those that a chain of near duplicates connects with one.

- A chain leads through any stored image: also one without a label or a preview.
- The chains grow from the restricted images. Their hashes are compared with all others; whole
  perceptual hashes, with their grids, are read of candidates only.
"""

import numpy as np

from nsfw_app.imaging.duplicate_groups import duplicate_groups
from nsfw_app.imaging.previews import COMPARED_BITS, HASH_DIGITS
from nsfw_app.store.image_labels import LabeledImages


def near_restricted(images: LabeledImages) -> frozenset[str]:
    """The hashes of restricted images, and of all images that chains connect with them."""
    restricted = images.restricted()
    found, ends = set(restricted), {text for text in restricted.values() if text}
    if not ends:
        return frozenset(found)
    starts = dict(images.hash_starts(HASH_DIGITS))
    names, bits = [*starts], np.array([int(text, 16) for text in starts.values()], np.uint64)
    while ends:
        close = np.zeros(len(bits), bool)
        for start in {text[:HASH_DIGITS] for text in ends}:
            close |= np.bitwise_count(bits ^ np.uint64(int(start, 16))) <= COMPARED_BITS
        candidates = images.perceptual_hashes(
            names[at] for at in np.flatnonzero(close) if names[at] not in found
        )
        groups = duplicate_groups([*ends, *candidates.values()])
        connected, others = set(groups[: len(ends)]), groups[len(ends) :]
        near = {
            image for image, group in zip(candidates, others, strict=True) if group in connected
        }
        found |= near
        ends = {candidates[image] for image in near}
    return frozenset(found)
