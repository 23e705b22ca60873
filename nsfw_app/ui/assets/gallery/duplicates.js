// Near duplicates: images whose perceptual hashes differ in few bits. Of flat images, whose bits prove
// nothing, and of hashes that differ in some more bits, the colors of a grid are compared. The same
// rule as imaging/previews.py. No DOM.

const HASH_BITS = 64
const HASH_DIGITS = 16
const MAX_DISTANCE = 4 // bits
const MAX_COMPARED = 12 // bits; up to here the grids decide
const FLAT_BITS = 20 // a hash with fewer bits that are set, or that are not, is that of a flat image
const MAX_LEVELS = 6 // of 255, between two cells
const MAX_SHARE = 0.14 // of the contrast of the images
const HASH = /^[0-9a-f]{16}([0-9a-f]{1536})?$/i

/**
 * @typedef {object} Hash
 * @property {[number, number]} bits The two halves of the difference hash.
 * @property {Uint8Array} grid Levels of the cells; empty in hashes of earlier versions.
 */

/**
 * @typedef {object} Group
 * @property {Hash | null} hash Of its first image.
 * @property {boolean} expanded Whether all its cards are shown while near duplicates are collapsed.
 */

/**
 * Groups of near duplicates, filled one image at a time.
 *
 * Every member is within the distance of the first one, so that a chain of small differences does
 * not join different images.
 */
export function makeGroups() {
  /** @type {Group[]} */
  const groups = []

  /**
   * The group of a perceptual hash. An invalid one has a group of its own.
   *
   * @param {string | null | undefined} text Hexadecimal digits.
   * @returns {Group}
   */
  return function groupOf(text) {
    const hash = parse(text)
    const near = hash && groups.find((group) => group.hash && areNear(group.hash, hash))
    if (near) return near
    const group = { hash, expanded: false }
    if (hash) groups.push(group)
    return group
  }
}

/**
 * @param {string | null | undefined} text
 * @returns {Hash | null}
 */
function parse(text) {
  if (!text || !HASH.test(text)) return null
  const digits = text.slice(HASH_DIGITS)
  const grid = new Uint8Array(digits.length / 2)
  for (let at = 0; at < grid.length; at += 1)
    grid[at] = Number.parseInt(digits.slice(2 * at, 2 * at + 2), 16)
  const halves = [text.slice(0, 8), text.slice(8, HASH_DIGITS)]
  const [first = 0, second = 0] = halves.map((half) => Number.parseInt(half, 16))
  return { bits: [first, second], grid }
}

/**
 * @param {Hash} a
 * @param {Hash} b
 */
function areNear(a, b) {
  const [first, second] = [a.bits[0] ^ b.bits[0], a.bits[1] ^ b.bits[1]]
  const distance = countOnes(first) + countOnes(second)
  if (distance > MAX_COMPARED) return false
  if (distance <= MAX_DISTANCE && !isFlat(a) && !isFlat(b)) return true
  return haveNearGrids(a.grid, b.grid)
}

/** @param {Hash} hash */
function isFlat({ bits }) {
  const count = countOnes(bits[0]) + countOnes(bits[1])
  return count < FLAT_BITS || count > HASH_BITS - FLAT_BITS
}

/**
 * Whether no cell differs by more than re-encoding, resizing and slight cropping explain.
 *
 * @param {Uint8Array} a
 * @param {Uint8Array} b
 */
function haveNearGrids(a, b) {
  if (!a.length || !b.length) return false
  const contrast = Math.max(range(a), range(b))
  const limit = Math.max(MAX_LEVELS, MAX_SHARE * contrast)
  return a.every((level, at) => Math.abs(level - (b[at] ?? 0)) <= limit)
}

/** @param {Uint8Array} grid */
const range = (grid) => Math.max(...grid) - Math.min(...grid)

/** @param {number} word */
function countOnes(word) {
  let count = 0
  for (let rest = word; rest; rest &= rest - 1) count += 1
  return count
}

/**
 * The items with each group's members next to its first one, otherwise in the same order.
 *
 * @template {{ group: object }} I
 * @param {I[]} items
 * @returns {I[]}
 */
export function gatherGroups(items) {
  /** @type {Map<object, I[]>} */
  const members = new Map()
  for (const item of items) {
    const list = members.get(item.group)
    if (list) list.push(item)
    else members.set(item.group, [item])
  }
  return [...members.values()].flat()
}
