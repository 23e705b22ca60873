// Pictures that look alike: their hashes differ in few bits. A group stands for one picture.

const MAX_DISTANCE = 4 // of 64 bits of a difference hash

/**
 * Groups of near duplicates, filled one picture at a time. All of a group are within the distance
 * of its first, so that a chain of small steps never joins what does not look alike.
 */
export function makeGroups() {
  const groups = []

  /** The group of a hash of 16 hexadecimal digits; a hash that is not known has one of its own. */
  return function groupOf(hash) {
    const bits = parse(hash)
    const near = bits && groups.find((group) => distance(group.bits, bits) <= MAX_DISTANCE)
    if (near) return near
    const group = { bits, expanded: false }
    if (bits) groups.push(group)
    return group
  }
}

function parse(hash) {
  if (!/^[0-9a-f]{16}$/i.test(hash ?? '')) return null
  return [Number.parseInt(hash.slice(0, 8), 16), Number.parseInt(hash.slice(8), 16)]
}

const distance = (a, b) => ones(a[0] ^ b[0]) + ones(a[1] ^ b[1])

function ones(word) {
  let count = 0
  for (let rest = word; rest; rest &= rest - 1) count += 1
  return count
}

/** The cards with each group's members behind the first of them, the order kept otherwise. */
export function together(cards) {
  const members = new Map()
  for (const card of cards) {
    const list = members.get(card.group)
    if (list) list.push(card)
    else members.set(card.group, [card])
  }
  return [...members.values()].flat()
}
