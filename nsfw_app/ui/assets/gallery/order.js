// The order of cards in the grid. No DOM.

/** @import { Policy } from '../shared/policy.js' */

/** @typedef {'score' | 'name' | 'nearest'} Order */
/** @typedef {{ name: string, nsfw_score: number | null }} Sortable */

/** The orders to choose from: value and word. @type {[Order, string][]} */
export const ORDERS = [
  ['score', 'Highest score'],
  ['name', 'Name'],
  ['nearest', 'Nearest to the threshold'],
]

const names = new Intl.Collator(undefined, { numeric: true })

/**
 * A comparator. Images without a score come first in `score` and `nearest`.
 *
 * @param {Order} order
 * @param {Policy} policy
 * @returns {(a: Sortable, b: Sortable) => number}
 */
export function comparator(order, { threshold }) {
  /** @param {Sortable} image */
  const distance = ({ nsfw_score: score }) => (score == null ? -1 : Math.abs(score - threshold))
  return {
    score: (/** @type {Sortable} */ a, /** @type {Sortable} */ b) =>
      (b.nsfw_score ?? 2) - (a.nsfw_score ?? 2),
    name: (/** @type {Sortable} */ a, /** @type {Sortable} */ b) => names.compare(a.name, b.name),
    nearest: (/** @type {Sortable} */ a, /** @type {Sortable} */ b) => distance(a) - distance(b),
  }[order]
}

/**
 * The indices of a longest increasing subsequence; negative numbers are never part of it.
 *
 * @param {number[]} numbers
 * @returns {Set<number>}
 */
export function longestIncreasing(numbers) {
  /** @type {number[]} For each length, the index of the smallest last number. */
  const tails = []
  /** @type {(number | undefined)[]} For each index, the one before it in the subsequence. */
  const previous = new Array(numbers.length)
  numbers.forEach((number, at) => {
    if (number < 0) return
    let low = 0
    let high = tails.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (numbers[tails[middle]] < number) low = middle + 1
      else high = middle
    }
    previous[at] = tails[low - 1]
    tails[low] = at
  })
  /** @type {Set<number>} */
  const found = new Set()
  for (let at = tails.at(-1); at !== undefined; at = previous[at]) found.add(at)
  return found
}
