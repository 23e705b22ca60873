// The charts of the threshold finder: recall and precision, and reviews a day, by threshold.

/** @import { Data, Plot } from './chart.js' */
/** @import { Evidence, Handle, Interval, Numbers, Targets } from './finder.js' */

import { make } from '../shared/dom.js'
import { DASHES, drawLine, makeChart } from './chart.js'
import { KEYS } from './chartKeys.js'
import { assess, percent, reviewsADay, reviewsOfDays } from './finder.js'
import { drawKnob, makeDraggable } from './plotHandles.js'

/** @typedef {{ evidence: Evidence, numbers: Numbers, targets: Targets | null }} Found */

const RATES_HEIGHT = 240
const REVIEWS_HEIGHT = 120

const AS_BEFORE =
  'The band has 95 % of days, if images a day vary as on the days of the period, and reviews with them.'
const BY_CHANCE =
  'The band has 95 % of days, if images come independently of each other (Poisson). How days differ is not known yet: that takes 7 whole days.'

/** Of table and download. */
const COLUMNS = [
  'Threshold',
  'Recall',
  'Recall, lower',
  'Recall, upper',
  'Certified',
  'Precision',
  'Precision, lower',
  'Precision, upper',
  'Reviews',
]

/** @param {(handle: Handle, value: number) => void} move A line of the chart is dragged. */
export function makeFinderCharts(move) {
  /** @type {Found | null} */
  let now = null

  const rates = makeChart({
    title: 'Recall and precision by threshold',
    file: 'recall-and-precision',
    height: RATES_HEIGHT,
    columns: COLUMNS,
    keys: KEYS.rates,
    draw: (color) => ({
      series: [
        {},
        ...interval(color, 'accent', DASHES.solid),
        ...interval(color, 'block', DASHES.dashed),
        {
          stroke: () => color('certified'),
          width: 3,
          dash: DASHES.dotted,
          points: { show: false },
        },
      ],
      bands: [
        { series: [2, 1], fill: () => faint(color('accent')) },
        { series: [5, 4], fill: () => faint(color('block')) },
      ],
      hooks: { draw: [(/** @type {Plot} */ plot) => drawMarks(plot, color)] },
    }),
  })
  makeDraggable(rates, () => now?.numbers ?? null, move)
  const reviews = makeChart({
    title: 'Reviews a day, if reviews begin at this score',
    file: 'reviews-a-day',
    height: REVIEWS_HEIGHT,
    columns: ['Review from', 'Reviews a day', '95 % of days, from', '95 % of days, to'],
    keys: KEYS.reviews,
    draw: (color) => ({
      scales: {
        x: { time: false, range: [0, 1] },
        y: {
          range: (/** @type {any} */ _, /** @type {number} */ __, /** @type {number} */ max) => [
            0,
            (max || 1) * 1.1,
          ],
        },
      },
      series: [{}, ...interval(color, 'accent', DASHES.solid)],
      bands: [{ series: [2, 1], fill: () => faint(color('accent')) }],
      hooks: {
        draw: [
          (/** @type {Plot} */ plot) => {
            if (!now) return
            const { numbers, targets } = now
            drawLine(plot, { scale: 'x', value: numbers.review_from, color: color('ink') })
            if (targets && targets.reviews !== null)
              drawLine(plot, {
                scale: 'y',
                value: targets.reviews,
                color: color('muted'),
                dash: DASHES.dotted,
              })
          },
        ],
      },
    }),
  })

  const basis = make('p', { class: 'muted' })
  reviews.frame.after(basis)

  /** @param {Plot} plot @param {(token: string) => string} color */
  function drawMarks(plot, color) {
    if (!now) return
    const { evidence, numbers, targets } = now
    for (const value of Object.values(numbers)) {
      drawLine(plot, { scale: 'x', value, color: color('ink') })
      drawKnob(plot, value, color('ink'), color('surface'))
    }
    if (!targets) return
    const dash = DASHES.dotted
    drawLine(plot, { scale: 'y', value: targets.recall, color: color('muted'), dash })
    const { certified } = assess(evidence, numbers, targets)
    if (certified === null) return
    drawLine(plot, {
      scale: 'x',
      value: certified,
      color: color('certified'),
      width: 3,
      text: `certified to ${certified.toFixed(2)}`,
      textColor: color('ink'),
      background: color('surface'),
    })
  }

  return {
    rates,
    reviews,
    /** @param {Found} found */
    show(found) {
      now = found
      const { evidence, numbers } = found
      const { curve, days } = evidence
      const { thresholds } = curve
      const [recall, precision] = [curve.recall, curve.precision].map(columnsOf)
      rates.show(
        [thresholds, ...recall, ...precision, curve.bounds.map((bound) => bound || null)],
        ratesLabel(found),
        () =>
          thresholds.map((threshold, at) => [
            threshold,
            ...cells(curve.recall[at]),
            curve.bounds[at],
            ...cells(curve.precision[at]),
            curve.recall[at].reviews,
          ]),
      )
      const bands = thresholds.map((from) => ({
        review_from: from,
        review_to: Math.max(from, numbers.review_to),
      }))
      const work = bands.map((band) => reviewsADay(curve, days, band))
      const ranges = bands.map((band) => reviewsOfDays(evidence, band))
      const [lower, upper] = [
        ranges.map((range) => range?.lower ?? null),
        ranges.map((range) => range?.upper ?? null),
      ]
      reviews.show([thresholds, lower, upper, work], reviewsLabel(work), () =>
        thresholds.map((from, at) => [from, work[at], lower[at], upper[at]]),
      )
      basis.textContent = evidence.dispersion == null ? BY_CHANCE : AS_BEFORE
    },
  }
}

/**
 * The three series of a rate: lower, upper, value.
 *
 * @param {(token: string) => string} color
 * @param {string} token
 * @param {number[]} dash
 */
function interval(color, token, dash) {
  const points = { show: false }
  return [
    { width: 0, points },
    { width: 0, points },
    { stroke: () => color(token), width: 2, dash, points },
  ]
}

/**
 * @param {Interval[]} intervals
 * @returns {Data}
 */
function columnsOf(intervals) {
  const known = intervals.map((each) => (each.value === null ? null : each))
  return [
    known.map((each) => each?.lower ?? null),
    known.map((each) => each?.upper ?? null),
    known.map((each) => each?.value ?? null),
  ]
}

/** @param {Interval} interval */
const cells = ({ value, lower, upper }) =>
  value === null ? [null, null, null] : [value, lower, upper]

/**
 * A color at a fifth of its strength.
 *
 * @param {string} color As the browser computes it: rgb(1, 2, 3).
 */
const faint = (color) => color.replace(/^rgb\((.*)\)$/, 'rgba($1, 0.2)')

/** @param {Found} found */
function ratesLabel({ evidence, numbers, targets }) {
  const lines = 'Lines of recall and precision from threshold 0 to 1.'
  if (!targets) return `${lines} The table has all values.`
  const { certified, recall, precision } = assess(evidence, numbers, targets)
  const shares = [recall, precision].map(({ value }) =>
    value === null ? 'unknown' : percent(value),
  )
  const mark =
    certified === null ? 'No threshold is certified' : `Certified up to ${certified.toFixed(2)}`
  return `${lines} At these numbers: recall ${shares[0]}, precision ${shares[1]}. ${mark}. The table has all values.`
}

/** @param {(number | null)[]} work */
function reviewsLabel(work) {
  const known = work.filter((each) => each !== null)
  if (!known.length) return 'No images arrived.'
  const [first, last] = [known[0], known[known.length - 1]].map((each) => Math.round(each ?? 0))
  return `A line of reviews a day with its band: ${first} if reviews begin at a score of 0, ${last} at 1. The table has all values.`
}
