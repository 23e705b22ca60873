// All images by the model's label and the reviewers', estimated from the sampled ones.

/** @import { Interval } from './finder.js' */

import { make } from '../shared/dom.js'
import { rate, whole } from './finder.js'

/** @typedef {{ threshold: number, images: number, recall: Interval, precision: Interval, prevalence: Interval, false_positive_rate: Interval, missed: Interval, flagged: Interval }} Estimates */
/** @typedef {{ true_positives: number, false_positives: number, true_negatives: number, false_negatives: number }} Counts */
/** @typedef {{ value: number | null, lower: number, upper: number }} Range */

/**
 * Estimated numbers of images, with intervals. How many are flagged is known, so that two of the
 * intervals follow from the precision, and the others from the number of missed images.
 *
 * @param {Estimates} estimates
 */
export function weightedCounts({ images, precision, missed, flagged }) {
  const above = flagged.value ?? 0
  const found = scaled(precision, above)
  return {
    truePositives: found,
    falsePositives: rest(found, above),
    falseNegatives: capped(missed, images - above),
    trueNegatives: rest(capped(missed, images - above), images - above),
  }
}

/** @param {Range} range @param {number} count @returns {Range} */
const scaled = ({ value, lower, upper }, count) => ({
  value: value === null ? null : value * count,
  lower: lower * count,
  upper: upper * count,
})

/** What is left of a number of images. @param {Range} range @param {number} of @returns {Range} */
const rest = ({ value, lower, upper }, of) => ({
  value: value === null ? null : of - value,
  lower: of - upper,
  upper: of - lower,
})

/** @param {Range} range @param {number} most @returns {Range} */
const capped = ({ value, lower, upper }, most) => ({
  value: value === null ? null : Math.min(value, most),
  lower: Math.min(lower, most),
  upper: Math.min(upper, most),
})

/** @param {Estimates} estimates @param {Counts} reviews */
export function drawWeightedCounts(estimates, reviews) {
  const counts = weightedCounts(estimates)
  /** @param {Range} range @param {number} reviewed @param {boolean} agrees */
  const cell = ({ value, lower, upper }, reviewed, agrees) =>
    make(
      'td',
      { class: agrees ? 'right' : 'wrong' },
      make('b', {}, value === null ? 'unknown' : `about ${whole(value)}`),
      make('span', {}, agrees ? 'agree' : 'differ'),
      make(
        'span',
        { class: 'muted' },
        `${whole(lower)} to ${whole(upper)}, from ${whole(reviewed)} ${reviewed === 1 ? 'review' : 'reviews'}`,
      ),
    )
  /** @param {string} label @param {...HTMLElement} cells */
  const row = (label, ...cells) =>
    make('tr', {}, make('th', { scope: 'row' }, `Model: ${label}`), ...cells)
  const table = make(
    'table',
    { class: 'confusion' },
    make(
      'caption',
      { class: 'muted' },
      `All ${whole(estimates.images)} images, estimated, with 95 % intervals`,
    ),
    make(
      'thead',
      {},
      make(
        'tr',
        {},
        make('td', {}),
        make('th', { scope: 'col' }, 'Unsafe'),
        make('th', { scope: 'col' }, 'Safe'),
      ),
    ),
    make(
      'tbody',
      {},
      row(
        'nsfw',
        cell(counts.truePositives, reviews.true_positives, true),
        cell(counts.falsePositives, reviews.false_positives, false),
      ),
      row(
        'normal',
        cell(counts.falseNegatives, reviews.false_negatives, false),
        cell(counts.trueNegatives, reviews.true_negatives, true),
      ),
    ),
  )
  /** @type {[string, Interval][]} */
  const rates = [
    ['Recall', estimates.recall],
    ['Precision', estimates.precision],
    ['False positive rate', estimates.false_positive_rate],
    ['Unsafe images', estimates.prevalence],
  ]
  const list = make(
    'dl',
    {},
    ...rates.flatMap(([name, interval]) => [
      make('dt', {}, name),
      make('dd', {}, `${rate(interval)}, from ${whole(interval.reviews)} reviews`),
    ]),
  )
  return [
    make('h2', {}, `At the threshold of ${estimates.threshold.toFixed(2)}`),
    make('div', { class: 'insight-columns' }, table, list),
  ]
}
