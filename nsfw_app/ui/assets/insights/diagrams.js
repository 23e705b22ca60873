// How scores are distributed by label, and how reliable they are as probabilities.

/** @import { Plot } from './chart.js' */
/** @import { Interval } from './finder.js' */

import { make } from '../shared/dom.js'
import { makeCalibrationVersion } from './calibrationVersion.js'
import { axesOf, DASHES, makeChart } from './chart.js'
import { KEYS } from './chartKeys.js'
import { whole } from './finder.js'

/** @typedef {{ unsafe: number[], safe: number[], reviews: number[] }} Histogram */
/** @typedef {{ probability: number, unsafe: Interval }} Point */
/** @typedef {{ raw: Interval, calibrated: Interval }} Comparison */
/** @typedef {{ method: string, reviews: number, brier: Comparison, log_loss: Comparison, ece: Comparison }} Calibration */

const HISTOGRAM_HEIGHT = 220
const RELIABILITY_HEIGHT = 280
const LEAST_COUNT = 0.5 // of the logarithmic scale
const BAR = 0.36 // of a tenth
const METHODS = /** @type {Record<string, string>} */ ({
  none: 'The scores as they are, to which no calibration is clearly better',
  platt: 'Platt scaling',
  beta: 'Beta calibration',
  isotonic: 'Isotonic regression',
})
const TOO_FEW =
  'Not calibrated yet: at least 20 sampled reviews of unsafe images are needed, and 20 of safe ones.'

/** Estimated numbers of images by tenths of the score. */
export function makeHistogram() {
  const chart = makeChart({
    title: 'Images by score, logarithmic',
    file: 'scores-by-label',
    height: HISTOGRAM_HEIGHT,
    columns: ['Score from', 'Score to', 'Unsafe, estimated', 'Safe, estimated', 'Reviews'],
    keys: KEYS.histogram,
    draw: (color, uPlot) => ({
      scales: { x: { time: false, range: [0, 1] }, y: { distr: 3, range: wholeDecades } },
      axes: axesOf(color, {
        splits: decades,
        filter: (/** @type {unknown} */ _, /** @type {number[]} */ splits) => splits,
      }),
      series: [
        {},
        {
          stroke: () => color('block'),
          fill: () => color('block'),
          width: 1,
          paths: uPlot.paths.bars({ size: [BAR], align: -1 }),
          points: { show: false },
        },
        {
          stroke: () => color('ink'),
          fill: 'transparent',
          width: 1,
          paths: uPlot.paths.bars({ size: [BAR], align: 1 }),
          points: { show: false },
        },
      ],
    }),
  })
  return {
    element: chart.element,
    /** @param {Histogram} histogram */
    show({ unsafe, safe, reviews }) {
      const middles = unsafe.map((_, tenth) => (tenth + 0.5) / 10)
      const counts = [unsafe, safe].map((each) => each.map((count) => count || null))
      const [bad, good] = [unsafe, safe].map((each) =>
        whole(each.reduce((sum, count) => sum + count, 0)),
      )
      chart.show(
        [middles, ...counts],
        `Bars by tenths of the score: about ${bad} unsafe and ${good} safe images in all. The table has each tenth.`,
        () =>
          unsafe.map((count, tenth) => [
            tenth / 10,
            (tenth + 1) / 10,
            count,
            safe[tenth],
            reviews[tenth],
          ]),
      )
    },
  }
}

/** The share of unsafe images by probability, before and after calibration. */
export function makeReliability() {
  /** @type {{ raw: Point[], calibrated: Point[] }} */
  let now = { raw: [], calibrated: [] }
  const chart = makeChart({
    title: 'Share of unsafe images by probability',
    file: 'reliability',
    height: RELIABILITY_HEIGHT,
    columns: ['Of', 'Mean probability', 'Unsafe', 'Unsafe, lower', 'Unsafe, upper', 'Reviews'],
    keys: KEYS.reliability,
    draw: (color) => ({
      series: [
        {},
        points(() => color('block'), DASHES.dashed),
        points(() => color('accent'), DASHES.solid),
      ],
      hooks: {
        draw: [
          (/** @type {Plot} */ plot) => {
            drawDiagonal(plot, color('muted'))
            for (const point of now.raw) drawWhisker(plot, point, color('block'))
            for (const point of now.calibrated) drawWhisker(plot, point, color('accent'))
          },
        ],
      },
    }),
  })
  const text = make('div', { class: 'calibration' })
  const version = makeCalibrationVersion()
  return {
    element: make('div', { class: 'calibration' }, chart.element, text, version.element),
    /**
     * @param {Point[]} raw
     * @param {Point[]} calibrated
     * @param {Calibration | null} calibration
     * @param {string} model
     */
    show(raw, calibrated, calibration, model) {
      version.show(model)
      now = { raw, calibrated }
      const all = [...raw, ...calibrated].sort((a, b) => a.probability - b.probability)
      /** @param {Point[]} of */
      const series = (of) => all.map((each) => (of.includes(each) ? each.unsafe.value : null))
      chart.show(
        [all.map(({ probability }) => probability), series(raw), series(calibrated)],
        `Points by tenths of the probability: ${raw.length} of scores, ${calibrated.length} of calibrated probabilities. The table has each point.`,
        () => [
          ...raw.map((point) => pointRow('Score', point)),
          ...calibrated.map((point) => pointRow('Calibrated', point)),
        ],
      )
      text.replaceChildren(...describe(calibration))
    },
  }
}

/** @param {Calibration | null} calibration */
function describe(calibration) {
  if (!calibration) return [make('p', {}, TOO_FEW)]
  const { method, reviews, brier, log_loss: logLoss, ece } = calibration
  /** @type {[string, Comparison][]} */
  const measures = [
    ['Brier score', brier],
    ['Log loss', logLoss],
    ['Calibration error (ECE)', ece],
  ]
  return [
    make(
      'p',
      {},
      `${METHODS[method]}, from ${whole(reviews)} sampled reviews. Lower is better; cross-validated, with 95 % intervals. Verdicts are computed from the scores, not from calibrated probabilities.`,
    ),
    make(
      'dl',
      {},
      ...measures.flatMap(([name, { raw, calibrated }]) => [
        make('dt', {}, name),
        make('dd', {}, `${measure(raw)} before, ${measure(calibrated)} after`),
      ]),
    ),
  ]
}

/** @param {Interval} interval */
const measure = ({ value, lower, upper }) =>
  value === null ? 'unknown' : `${value.toFixed(3)} (${lower.toFixed(3)} to ${upper.toFixed(3)})`

/** @param {string} of @param {Point} point */
const pointRow = (of, { probability, unsafe }) => [
  of,
  probability,
  unsafe.value,
  unsafe.lower,
  unsafe.upper,
  unsafe.reviews,
]

/** @param {() => string} stroke @param {number[]} dash */
function points(stroke, dash) {
  return { stroke, dash, width: 2, spanGaps: true, points: { show: true, size: 7, fill: stroke } }
}

/** @param {Plot} plot @param {string} color */
function drawDiagonal(plot, color) {
  stroke(plot, color, [0, 0], [1, 1], DASHES.dotted)
}

/** @param {Plot} plot @param {Point} point @param {string} color */
function drawWhisker(plot, { probability, unsafe }, color) {
  stroke(plot, color, [probability, unsafe.lower], [probability, unsafe.upper], [])
}

/**
 * @param {Plot} plot
 * @param {string} color
 * @param {[number, number]} from
 * @param {[number, number]} to
 * @param {number[]} dash
 */
function stroke(plot, color, from, to, dash) {
  const { ctx } = plot
  const ratio = devicePixelRatio
  ctx.save()
  ctx.strokeStyle = color
  ctx.lineWidth = 1.5 * ratio
  ctx.setLineDash(dash.map((length) => length * ratio))
  ctx.beginPath()
  ctx.moveTo(plot.valToPos(from[0], 'x', true), plot.valToPos(from[1], 'y', true))
  ctx.lineTo(plot.valToPos(to[0], 'x', true), plot.valToPos(to[1], 'y', true))
  ctx.stroke()
  ctx.restore()
}

/**
 * From below one image up to a power of ten.
 *
 * @param {unknown} _
 * @param {number | null} __
 * @param {number | null} max
 */
function wholeDecades(_, __, max) {
  return [LEAST_COUNT, 10 ** Math.ceil(Math.log10(Math.max(10, max ?? 10)))]
}

/**
 * The powers of ten up to a number.
 *
 * @param {unknown} _
 * @param {unknown} __
 * @param {unknown} ___
 * @param {number} max
 */
function decades(_, __, ___, max) {
  return Array.from({ length: Math.round(Math.log10(max)) + 1 }, (____, power) => 10 ** power)
}
