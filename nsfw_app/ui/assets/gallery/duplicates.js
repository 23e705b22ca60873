// Near duplicates: images whose perceptual hashes differ in few bits. No DOM.

const MAX_DISTANCE = 4 // of the 64 bits of a difference hash

/** @typedef {[number, number]} Bits The two halves of a hash. */

/**
 * @typedef {object} Group
 * @property {Bits | null} bits Of its first image.
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
   * The group of a hash of 16 hexadecimal digits. An invalid hash has a group of its own.
   *
   * @param {string | null | undefined} hash
   * @returns {Group}
   */
  return function groupOf(hash) {
    const bits = parse(hash)
    const near =
      bits && groups.find((group) => group.bits && distance(group.bits, bits) <= MAX_DISTANCE)
    if (near) return near
    const group = { bits, expanded: false }
    if (bits) groups.push(group)
    return group
  }
}

/**
 * @param {string | null | undefined} hash
 * @returns {Bits | null}
 */
function parse(hash) {
  if (!hash || !/^[0-9a-f]{16}$/i.test(hash)) return null
  return [Number.parseInt(hash.slice(0, 8), 16), Number.parseInt(hash.slice(8), 16)]
}

/**
 * @param {Bits} a
 * @param {Bits} b
 */
const distance = (a, b) => countOnes(a[0] ^ b[0]) + countOnes(a[1] ^ b[1])

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
