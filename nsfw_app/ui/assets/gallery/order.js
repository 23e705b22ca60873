// The order of cards in the grid. No DOM.

/** @import { Category, Policy, Scored } from '../shared/policy.js' */

import { probabilityOf } from '../shared/categories.js'

/** @typedef {'score' | 'name' | 'nearest' | 'category'} Order */
/** @typedef {{ name: string } & Scored} Sortable */

/** The orders to choose from: value and word. @type {[Order, string][]} */
export const ORDERS = [
  ['score', 'Highest score'],
  ['name', 'Name'],
  ['nearest', 'Nearest to the threshold'],
  ['category', 'Highest category'],
]

const names = new Intl.Collator(undefined, { numeric: true })

/**
 * A comparator. Images without a score come first, except by name; those of which no category was
 * judged come last in `category`.
 *
 * @param {Order} order
 * @param {Policy} policy
 * @param {Category | ''} category That `category` compares; empty for the highest of each image.
 * @returns {(a: Sortable, b: Sortable) => number}
 */
export function comparator(order, { threshold }, category = '') {
  /** @param {Sortable} image */
  const distance = ({ nsfw_score: score }) => (score == null ? -1 : Math.abs(score - threshold))
  /** @param {Sortable} image */
  const probability = (image) =>
    image.nsfw_score == null ? 2 : (probabilityOf(image, category) ?? -1)
  return {
    score: (/** @type {Sortable} */ a, /** @type {Sortable} */ b) =>
      (b.nsfw_score ?? 2) - (a.nsfw_score ?? 2),
    name: (/** @type {Sortable} */ a, /** @type {Sortable} */ b) => names.compare(a.name, b.name),
    nearest: (/** @type {Sortable} */ a, /** @type {Sortable} */ b) => distance(a) - distance(b),
    category: (/** @type {Sortable} */ a, /** @type {Sortable} */ b) =>
      probability(b) - probability(a),
  }[order]
}
