// Charts of drift: scores of the latest week against the reference, and disagreements by week.

/** @import { Comparison } from './driftSeries.js' */

import { make } from '../shared/dom.js'
import { axesOf, makeChart } from './chart.js'
import { KEYS } from './chartKeys.js'
import { distance, scoreRows, sharesOf } from './driftSeries.js'
import { percent } from './finder.js'
import { makeTimeChart } from './timeChart.js'

const HEIGHT = 200
const BAR = 0.4 // of a part of the score

export function makeDriftCharts() {
  const scores = makeChart({
    title: 'Scores, share of images',
    file: 'scores-compared',
    height: HEIGHT,
    columns: [
      'Score from',
      'Score to',
      'Latest 7 days',
      'Latest 7 days, share',
      'Reference',
      'Reference, share',
    ],
    keys: KEYS.scores,
    draw: (color, uPlot) => {
      /** @param {string} token @param {-1 | 1} align */
      const bars = (token, align) => ({
        stroke: () => color(token),
        width: 1,
        paths: uPlot.paths.bars({ size: [BAR], align }),
        points: { show: false },
      })
      return {
        scales: { x: { time: false, range: [0, 1] }, y: { range: toMost } },
        axes: axesOf(color),
        series: [
          {},
          { ...bars('accent', -1), fill: () => color('accent') },
          { ...bars('ink', 1), fill: 'transparent' },
        ],
      }
    },
  })
  const weeks = makeTimeChart({
    title: 'Disagreements with the model in the review band, by week',
    file: 'disagreements-by-week',
    columns: ['Week from', 'Disagreements', 'Lower', 'Upper', 'Reviews'],
    kind: 'share',
  })
  const element = make('div', { class: 'evidence-charts' }, scores.element, weeks.element)
  return {
    element,
    /** @param {Comparison} comparison */
    show(comparison) {
      const { week_scores: week, reference_scores: reference, weeks: rates } = comparison
      scores.show(
        [week.map((_, at) => (at + 0.5) / week.length), sharesOf(week), sharesOf(reference)],
        scoresLabel(comparison),
        () => scoreRows(comparison),
      )
      weeks.show(
        rates.map(({ start, disagreements }) => ({ date: start, ...disagreements })),
        `Share of reviewed images whose label differs from the model's, in each of ${rates.length} weeks. The table has each week.`,
        () =>
          rates.map(({ start, disagreements: { value, lower, upper, reviews } }) => [
            start,
            value,
            lower,
            upper,
            reviews,
          ]),
      )
    },
  }
}

/** @param {Comparison} comparison */
function scoresLabel(comparison) {
  const apart = distance(comparison)
  const bars = 'Bars by score of the latest 7 days and of the reference.'
  if (apart === null) return `${bars} One of them has no image.`
  return `${bars} ${percent(apart)} of the images have other scores. The table has all values.`
}

/** @param {unknown} _ @param {unknown} __ @param {number | null} most */
const toMost = (_, __, most) => [0, (most || 1) * 1.1]
