// All images by the model's label and the reviewers', estimated from the sampled ones.

/** @import { Interval } from './finder.js' */

import { make } from '../shared/dom.js'
import { rate, whole } from './finder.js'

/** @typedef {{ threshold: number, images: number, recall: Interval, precision: Interval, prevalence: Interval, false_positive_rate: Interval }} Estimates */

/**
 * Estimated numbers of images; null where nothing is known.
 *
 * @param {Estimates} estimates
 */
export function weightedCounts({ images, recall, prevalence, false_positive_rate: falseRate }) {
  const unsafe = prevalence.value === null ? null : images * prevalence.value
  /** @param {number | null} of @param {number | null} share */
  const part = (of, share) => (of === null || share === null ? null : of * share)
  const [flagged, wrong] = [recall.value, falseRate.value]
  const safe = unsafe === null ? null : images - unsafe
  return {
    truePositives: part(unsafe, flagged),
    falseNegatives: part(unsafe, flagged === null ? null : 1 - flagged),
    falsePositives: part(safe, wrong),
    trueNegatives: part(safe, wrong === null ? null : 1 - wrong),
  }
}

/** @param {Estimates} estimates */
export function drawWeightedCounts(estimates) {
  const counts = weightedCounts(estimates)
  /** @param {number | null} count @param {boolean} agrees */
  const cell = (count, agrees) =>
    make(
      'td',
      { class: agrees ? 'right' : 'wrong' },
      make('b', {}, count === null ? 'unknown' : `about ${whole(count)}`),
      make('span', {}, agrees ? 'agree' : 'differ'),
    )
  /** @param {string} label @param {...HTMLElement} cells */
  const row = (label, ...cells) =>
    make('tr', {}, make('th', { scope: 'row' }, `Model: ${label}`), ...cells)
  const table = make(
    'table',
    { class: 'confusion' },
    make('caption', { class: 'muted' }, `All ${whole(estimates.images)} images, estimated`),
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
      row('nsfw', cell(counts.truePositives, true), cell(counts.falsePositives, false)),
      row('normal', cell(counts.falseNegatives, false), cell(counts.trueNegatives, true)),
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
