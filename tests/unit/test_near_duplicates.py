"""Near duplicates among flat, dark and text images, by the rule of server and browser."""

import json
import subprocess
from itertools import combinations, product
from pathlib import Path

import pytest

from nsfw_app.imaging.previews import FLAT_BITS, HASH_DIGITS, NEAR_BITS
from nsfw_app.imaging.previews import are_near_duplicates as near
from nsfw_app.review.previews import describe
from tests.support import flat_images

MODULE = Path(__file__).parents[2] / "nsfw_app/ui/assets/gallery/duplicates.js"
# Prints whether the two hashes of each pair are in one group.
SCRIPT = """
const { makeGroups } = await import(process.argv[1])
const pairs = JSON.parse(require('node:fs').readFileSync(0, 'utf8'))
console.log(JSON.stringify(pairs.map(([one, other]) => {
  const groupOf = makeGroups()
  return groupOf(one) === groupOf(other)
})))
"""
FLAT, BALANCED = "0" * HASH_DIGITS, "00000000ffffffff"
EARLIER = [FLAT, f"{(1 << FLAT_BITS) - 1:016x}", BALANCED]  # hashes without a grid


@pytest.fixture(scope="module")
def hashes() -> dict[str, str]:
    """Hashes of images of which no two are near duplicates."""
    return {name: hash_of(image) for name, image in flat_images.distinct().items()}


@pytest.fixture(scope="module")
def copies() -> list[tuple[str, str, str]]:
    """Name, kind of change and hash of each copy."""
    return [
        (name, change, hash_of(copy))
        for name, image in flat_images.distinct().items()
        for change, copy in flat_images.copies(image)
    ]


def hash_of(image: flat_images.Image.Image) -> str:
    """The perceptual hash that is stored for an image."""
    found = describe(image).perceptual_hash
    assert found is not None
    return found


def distance(one: str, other: str) -> int:
    """Bits in which two hashes differ."""
    return (int(one[:HASH_DIGITS], 16) ^ int(other[:HASH_DIGITS], 16)).bit_count()


def test_different_images_form_no_group(hashes: dict[str, str]) -> None:
    """Flat colors, gradients, dark scenes, pages and screenshots are distinguished."""
    pairs = list(combinations(hashes, 2))
    assert [pair for pair in pairs if near(*(hashes[name] for name in pair))] == []
    # By the bits alone hundreds of them would be near duplicates.
    assert sum(distance(hashes[a], hashes[b]) <= NEAR_BITS for a, b in pairs) > 300


def test_copies_are_found(hashes: dict[str, str], copies: list[tuple[str, str, str]]) -> None:
    """Encoded again, resized or slightly cropped, flat, dark and text images are found."""
    assert [copy[:2] for copy in copies if not near(hashes[copy[0]], copy[2])] == []
    # By the bits alone, those of text and dark scenes would be lost.
    far = [copy for copy in copies if distance(hashes[copy[0]], copy[2]) > NEAR_BITS]
    assert len(far) >= 40


def test_hashes_of_earlier_versions_form_no_false_group(hashes: dict[str, str]) -> None:
    """Without a grid flat images are never near duplicates, others are by few bits."""
    assert [near(text, text) for text in EARLIER] == [False, True, True]
    text = next(text for name, text in hashes.items() if name.startswith("text"))
    for bits in (NEAR_BITS, NEAR_BITS + 1):
        changed = f"{int(text[:HASH_DIGITS], 16) ^ ((1 << bits) - 1):016x}"
        assert near(text, changed) is (bits == NEAR_BITS)
        assert near(text, changed + text[HASH_DIGITS:])


def test_the_browser_applies_the_same_rule(
    hashes: dict[str, str], copies: list[tuple[str, str, str]]
) -> None:
    """Page and server agree about every pair, at the limits of bits and levels too."""
    made = [FLAT + "80" * 2 + rest * 766 for rest in ("80", "86", "87")]
    made += [FLAT + "ff00" + cell + "80" * 765 for cell in ("80", "a3", "a4")]
    made += [f"{(1 << bits) - 1:016x}" + "80" * 768 for bits in range(0, 65, 3)]
    pairs = [
        *combinations(hashes.values(), 2),
        *((hashes[name], text) for name, _, text in copies),
        *product([*made, *EARLIER], repeat=2),
    ]
    script = ["node", "--input-type=commonjs", "--eval", f"(async () => {{{SCRIPT}}})()"]
    printed = subprocess.run(
        [*script, MODULE.as_uri()],
        input=json.dumps(pairs),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert json.loads(printed) == [near(*pair) for pair in pairs]
