// Wrong labels of the model by day, reason and source, estimated from sampled reviews.

/** @import { Interval } from './finder.js' */

import { reasonWord } from '../shared/decisionForm.js'
import { make } from '../shared/dom.js'
import { makeDownloadTable } from './downloadTable.js'
import { rate, whole } from './finder.js'
import { makeTimeChart } from './timeChart.js'

/** @typedef {{ name: string, images: number, reviews: number, wrong: Interval, false_negatives: Interval, false_positives: Interval }} ErrorGroup */
/** @typedef {{ name: string, found: number, images: Interval }} ReasonErrors */
/** @typedef {{ threshold: number, reasons: ReasonErrors[], sources: ErrorGroup[], days: ErrorGroup[] }} Errors */

/** @type {[string, keyof ErrorGroup][]} */
const RATES = [
  ['Wrong', 'wrong'],
  ['Unsafe, labeled normal', 'false_negatives'],
  ['Safe, labeled nsfw', 'false_positives'],
]
const RATE_COLUMNS = RATES.flatMap(([name]) => [name, `${name}, lower`, `${name}, upper`])

/** @param {string} code */
export const reasonName = (code) =>
  code === 'not_settled' ? 'Not settled yet' : code ? reasonWord(code) : 'No reason given'

export function makeErrorEstimates() {
  const text = make('p', { class: 'muted' })
  const chart = makeTimeChart({
    title: 'Wrong labels by day of arrival, estimated',
    file: 'wrong-labels-by-day',
    columns: ['Day', 'Images', 'Reviews', ...RATE_COLUMNS],
    kind: 'share',
  })
  const reasons = makeDownloadTable({
    title: 'Wrong labels by reason',
    file: 'wrong-labels-by-reason',
    cells: /** @type {[string, (row: ReasonErrors) => string][]} */ ([
      ['Reason', ({ name }) => reasonName(name)],
      ['Sampled images', ({ found }) => whole(found)],
      ['All images, estimated', ({ images }) => amount(images)],
    ]),
    columns: ['Reason', 'Sampled images', 'All images, estimated', 'Lower', 'Upper', 'Reviews'],
    fields: ({ name, found, images }) => [name, found, ...fields(images), images.reviews],
    none: 'No sampled image has another label than the model gives it.',
  })
  const sources = makeDownloadTable({
    title: 'Wrong labels by source',
    file: 'wrong-labels-by-source',
    cells: /** @type {[string, (row: ErrorGroup) => string][]} */ ([
      ['Source', ({ name }) => name],
      ['Images', ({ images }) => whole(images)],
      ['Reviews', ({ reviews }) => whole(reviews)],
      ...RATES.map(([title, key]) => [
        title,
        (/** @type {ErrorGroup} */ group) => rate(/** @type {Interval} */ (group[key])),
      ]),
    ]),
    columns: ['Source', 'Images', 'Reviews', ...RATE_COLUMNS],
    fields: groupFields,
    none: 'No image that could be drawn has arrived.',
  })
  return {
    element: make(
      'section',
      { id: 'evidence-errors', class: 'definition-list insight', 'aria-label': 'Wrong labels' },
      make('h2', {}, 'Wrong labels'),
      text,
      make('div', { class: 'evidence-charts' }, chart.element, reasons.element),
      sources.element,
    ),
    /** @param {Errors} errors @param {number} reviews */
    show(errors, reviews) {
      const { days, threshold } = errors
      text.textContent = `Estimated from ${whole(reviews)} sampled reviews, each weighted by its probability of being drawn, with 95 % intervals: labels of reviewers compared with those of the model at ${threshold.toFixed(2)}. An image counts once for each of its reasons.`
      const known = days.filter(({ wrong }) => wrong.value !== null)
      chart.show(
        days.map(({ name, wrong }) => ({ date: name, ...wrong })),
        `Share of images with a wrong label on ${known.length} days with reviews. The table has each day.`,
        () => days.map(groupFields),
      )
      reasons.show(errors.reasons)
      sources.show(errors.sources)
    },
  }
}

/** @param {Interval} interval */
const fields = ({ value, lower, upper }) => [value, lower, upper]

/** @param {ErrorGroup} group */
const groupFields = (group) => [
  group.name,
  group.images,
  group.reviews,
  ...RATES.flatMap(([, key]) => fields(/** @type {Interval} */ (group[key]))),
]

/** @param {Interval} images */
const amount = ({ value, lower, upper }) =>
  value === null ? 'unknown' : `about ${whole(value)} (${whole(lower)} to ${whole(upper)})`
