// Charts by date: shares with their intervals as points, and counts as bars.

/** @import { Plot } from './chart.js' */
/** @import { Row } from './csv.js' */

import { axesOf, makeChart } from './chart.js'
import { dateOf, dayNumber, topOf } from './timeScale.js'

/** @import { DatedPoint } from './timeScale.js' */

const HEIGHT = 200
const STEPS = [1, 2, 7, 14, 28, 91, 182, 364, 728]
const LABEL_SPACE = 56 // pixels

/**
 * @param {object} options
 * @param {string} options.title
 * @param {string} options.file
 * @param {string[]} options.columns Of table and download.
 * @param {'share' | 'count'} options.kind
 */
export function makeTimeChart({ title, file, columns, kind }) {
  /** @type {DatedPoint[]} */
  let now = []
  const chart = makeChart({
    title,
    file,
    height: HEIGHT,
    columns,
    keys: [],
    draw: (color, uPlot) => {
      const [horizontal, vertical] = axesOf(color)
      const stroke = () => color('accent')
      const bars = { fill: stroke, paths: uPlot.paths.bars({ size: [0.7, 40] }) }
      return {
        scales: {
          x: { time: false, range: days },
          y: {
            range: (
              /** @type {unknown} */ _,
              /** @type {number} */ __,
              /** @type {number} */ max,
            ) => (kind === 'share' ? [0, topOf(now)] : [0, (max || 1) * 1.1]),
          },
        },
        axes: [{ ...horizontal, incrs: STEPS, space: LABEL_SPACE, values: monthAndDay }, vertical],
        series: [
          {},
          kind === 'share'
            ? { stroke, width: 1, spanGaps: true, points: { show: true, size: 6, fill: stroke } }
            : { stroke, width: 1, points: { show: false }, ...bars },
        ],
        hooks: {
          draw: [
            (/** @type {Plot} */ plot) => {
              for (const point of now) drawInterval(plot, point, color('accent'))
            },
          ],
        },
      }
    },
  })
  return {
    element: chart.element,
    /** @param {DatedPoint[]} points In order. @param {string} label @param {() => Row[]} rows */
    show(points, label, rows) {
      now = points
      chart.show(
        [points.map(({ date }) => dayNumber(date)), points.map(({ value }) => value)],
        label,
        rows,
      )
    },
  }
}

/** @param {Plot} plot @param {DatedPoint} point @param {string} color */
function drawInterval(plot, { date, value, lower, upper }, color) {
  if (value === null || lower === undefined || upper === undefined) return
  const { ctx, bbox } = plot
  const x = plot.valToPos(dayNumber(date), 'x', true)
  ctx.save()
  ctx.strokeStyle = color
  ctx.lineWidth = devicePixelRatio
  ctx.beginPath()
  ctx.moveTo(x, plot.valToPos(lower, 'y', true))
  ctx.lineTo(x, Math.max(bbox.top, plot.valToPos(upper, 'y', true)))
  ctx.stroke()
  ctx.restore()
}

/** A day more at each side. @param {unknown} _ @param {number | null} min @param {number | null} max */
function days(_, min, max) {
  return min === null || max === null ? [0, 1] : [min - 1, max + 1]
}

/** @param {unknown} _ @param {number[]} splits */
function monthAndDay(_, splits) {
  return splits.map((day) => (Number.isInteger(day) ? dateOf(day).slice(5) : ''))
}
