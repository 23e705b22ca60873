// What the target fields say: percentages, and a number of reviews. A wrong one is a sentence, and
// nothing is computed from it.

/** @import { Targets } from './finder.js' */

/** @typedef {{ targets: Targets | null, errors: Record<keyof Targets, string> }} Checked */

const NUMBER = /^\d+(\.\d+)?$/
const LEAST_RECALL = 50 // lower bounds of the recall are computed from here

/**
 * The targets, if all fields are right; and a sentence for each that is not.
 *
 * @param {Record<keyof Targets, string>} texts
 * @returns {Checked}
 */
export function checkedTargets(texts) {
  const recall = numberOf(texts.recall)
  const precision = numberOf(texts.precision)
  const reviews = numberOf(texts.reviews)
  const errors = {
    recall:
      recall !== null && recall >= LEAST_RECALL && recall <= 99.9
        ? ''
        : 'Recall: enter a percentage from 50 to 99.9, such as 95.',
    precision:
      precision === null || (precision >= 1 && precision <= 100)
        ? ''
        : 'Precision: enter a percentage from 1 to 100, such as 80, or nothing.',
    reviews: Number.isNaN(reviews)
      ? 'Reviews a day: enter a number such as 200, without separators, or nothing.'
      : '',
  }
  if (recall === null || Object.values(errors).some(Boolean)) return { targets: null, errors }
  return {
    targets: { recall: recall / 100, precision: precision && precision / 100, reviews },
    errors,
  }
}

/**
 * Null for an empty field, not a number for a wrong one.
 *
 * @param {string} text
 */
function numberOf(text) {
  const trimmed = text.trim()
  if (!trimmed) return null
  return NUMBER.test(trimmed) ? Number(trimmed) : Number.NaN
}
