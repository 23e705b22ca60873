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
