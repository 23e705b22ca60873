// Charts of uPlot (see vendor/uplot): canvases in the colors of the page, each with the same numbers
// as a table and as a download.

/** @import { Key } from './chartKeys.js' */
/** @import { Row } from './csv.js' */

import { make } from '../shared/dom.js'
import { messageOf } from '../shared/requests.js'
import { csvOf, download } from './csv.js'
import { dataTable } from './dataTable.js'

/**
 * @typedef {object} Plot The part of a uPlot instance that is used here.
 * @property {{ left: number, top: number, width: number, height: number }} bbox In canvas pixels.
 * @property {CanvasRenderingContext2D} ctx
 * @property {(value: number, scale: string, canvas: boolean) => number} valToPos
 * @property {(pixels: number, scale: string) => number} posToVal
 * @property {HTMLElement} over The area between the axes.
 * @property {(data: Data) => void} setData
 * @property {(size: { width: number, height: number }) => void} setSize
 * @property {(rebuild?: boolean) => void} redraw
 */
/** @typedef {(number | null)[][]} Data The x values, and the values of each series. */
/** @typedef {ReturnType<typeof makeChart>} Chart */
/** @typedef {(box: HTMLElement) => (token: string) => string} Colors */

export const AXIS_WIDTH = 48
export const RIGHT_PADDING = 16
export const DASHES = { solid: [], dashed: [8, 4], dotted: [2, 4], filled: [], outlined: [] }
const FONT = '12px system-ui, sans-serif'
const SCRIPT = '../vendor/uplot/uPlot.iife.min.js'
const STYLE = '../vendor/uplot/uPlot.min.css'

/** @type {Promise<any> | null} */
let loading = null

/**
 * The library, loaded with the first chart. It is a classic script, which defines a global.
 *
 * @returns {Promise<any>}
 */
export function loadUPlot() {
  loading ??= new Promise((resolve, reject) => {
    const address = (/** @type {string} */ path) => new URL(path, import.meta.url).href
    document.head.append(
      make('link', { rel: 'stylesheet', href: address(STYLE) }),
      make('script', {
        src: address(SCRIPT),
        onload: () => resolve(/** @type {any} */ (globalThis).uPlot),
        onerror: () => reject(new Error('The charts cannot be loaded. Reload the page.')),
      }),
    )
  })
  return loading
}

/**
 * A chart with its caption, legend, table and download. It is drawn once it has a width, and again
 * in the new colors if the theme changes.
 *
 * @param {object} options
 * @param {string} options.title
 * @param {string} options.file Name of the download, without its ending.
 * @param {number} options.height In pixels.
 * @param {Key[]} options.keys
 * @param {string[]} options.columns Of table and download.
 * @param {(color: (token: string) => string, uPlot: any) => object} options.draw Options of uPlot.
 */
export function makeChart({ title, file, height, keys, columns, draw }) {
  const box = make('div', { class: 'plot', role: 'img' })
  const probe = make('span', { hidden: true })
  const frame = make('div', { class: 'plot-frame' }, probe, box)
  const table = make('div')
  const details = make(
    'details',
    { ontoggle: drawTable },
    make('summary', {}, 'Table'),
    make(
      'button',
      { type: 'button', class: 'quiet', onclick: () => download(`${file}.csv`, csv()) },
      'Download CSV',
    ),
    table,
  )
  const element = make(
    'figure',
    { class: 'chart' },
    make('figcaption', {}, title, drawKeys(keys)),
    frame,
    details,
  )
  /** @type {Plot | null} */
  let plot = null
  /** @type {Data} */
  let data = [[]]
  /** @type {() => Row[]} */
  let rows = () => []

  const csv = () => csvOf(columns, rows())

  /** @param {string} token */
  function color(token) {
    probe.style.color = `var(--${token})`
    return getComputedStyle(probe).color
  }

  function drawTable() {
    if (!details.open) return
    const cells = columns.map(
      (column, at) =>
        /** @type {[string, (row: Row) => string]} */ ([column, (row) => shown(row[at])]),
    )
    table.replaceChildren(dataTable(title, rows(), cells, 'numbers'))
  }

  async function resize() {
    let uPlot
    try {
      uPlot = await loadUPlot()
    } catch (error) {
      box.textContent = messageOf(error)
      return
    }
    const width = box.clientWidth
    if (!width) return
    if (plot) plot.setSize({ width, height })
    else plot = new uPlot({ ...common(color), width, height, ...draw(color, uPlot) }, data, box)
  }

  new ResizeObserver(() => resize()).observe(frame)
  for (const query of ['(prefers-color-scheme: dark)', '(forced-colors: active)'])
    matchMedia(query).addEventListener('change', () => plot?.redraw())
  return {
    element,
    /** What is between the chart and its table. */
    frame,
    box,
    /**
     * The value on the horizontal axis below a pointer, and how much a pixel is; null before the
     * chart is drawn.
     *
     * @param {number} clientX
     */
    valueAt(clientX) {
      if (!plot) return null
      const x = clientX - plot.over.getBoundingClientRect().left
      const value = plot.posToVal(x, 'x')
      return { value, perPixel: plot.posToVal(x + 1, 'x') - value }
    },
    /**
     * @param {Data} next
     * @param {string} label What the chart shows, for screen readers.
     * @param {() => Row[]} nextRows
     */
    show(next, label, nextRows) {
      data = next
      rows = nextRows
      box.setAttribute('aria-label', label)
      plot?.setData(data)
      drawTable()
    },
  }
}

/**
 * Options that all charts have.
 *
 * @param {(token: string) => string} color
 */
function common(color) {
  return {
    legend: { show: false },
    cursor: { show: false },
    padding: [10, RIGHT_PADDING, 0, 0],
    scales: { x: { time: false, range: [0, 1] }, y: { range: [0, 1] } },
    axes: axesOf(color),
  }
}

/**
 * Both axes, with more options of the vertical one.
 *
 * @param {(token: string) => string} color
 * @param {object} [vertical]
 */
export function axesOf(color, vertical = {}) {
  const axis = {
    stroke: () => color('muted'),
    font: FONT,
    grid: { stroke: () => color('line'), width: 1 },
    ticks: { stroke: () => color('line'), width: 1, size: 4 },
  }
  return [
    { ...axis, size: 28 },
    { ...axis, size: AXIS_WIDTH, ...vertical },
  ]
}

/**
 * A straight line across a plot, with a word at its lower end.
 *
 * @param {Plot} plot
 * @param {object} line
 * @param {'x' | 'y'} line.scale On which its value is.
 * @param {number} line.value
 * @param {string} line.color
 * @param {number[]} [line.dash]
 * @param {number} [line.width]
 * @param {string} [line.text]
 * @param {string} [line.textColor] The line's is too faint for a text.
 * @param {string} [line.background] Of the text, so that it can be read over other lines.
 */
export function drawLine(
  plot,
  {
    scale,
    value,
    color,
    dash = [],
    width = 1,
    text = '',
    textColor = color,
    background = 'transparent',
  },
) {
  const { ctx, bbox } = plot
  const ratio = devicePixelRatio
  const at = plot.valToPos(value, scale, true)
  const [right, bottom] = [bbox.left + bbox.width, bbox.top + bbox.height]
  const [from, to] =
    scale === 'x'
      ? [
          [at, bbox.top],
          [at, bottom],
        ]
      : [
          [bbox.left, at],
          [right, at],
        ]
  if (at < (scale === 'x' ? bbox.left : bbox.top) - 1 || at > (scale === 'x' ? right : bottom) + 1)
    return
  ctx.save()
  ctx.strokeStyle = color
  ctx.fillStyle = textColor
  ctx.lineWidth = width * ratio
  ctx.setLineDash(dash.map((length) => length * ratio))
  ctx.beginPath()
  ctx.moveTo(from[0], from[1])
  ctx.lineTo(to[0], to[1])
  ctx.stroke()
  if (text) {
    ctx.font = `${12 * ratio}px system-ui, sans-serif`
    ctx.textBaseline = 'bottom'
    const fits = at + ctx.measureText(text).width + 8 * ratio < right
    ctx.textAlign = fits ? 'left' : 'right'
    const [x, y] = [at + (fits ? 5 : -5) * ratio, bottom - 4 * ratio]
    ctx.setLineDash([])
    ctx.lineJoin = 'round'
    ctx.lineWidth = 5 * ratio
    ctx.strokeStyle = background
    ctx.strokeText(text, x, y)
    ctx.fillText(text, x, y)
  }
  ctx.restore()
}

/** @param {Key[]} keys */
function drawKeys(keys) {
  return make(
    'ul',
    { class: 'chart-keys' },
    ...keys.map(({ name, token, line }) => {
      const swatch = make('i', { class: `swatch ${line}` })
      swatch.style.setProperty('--swatch', `var(--${token})`)
      return make('li', {}, swatch, name)
    }),
  )
}

/** @param {string | number | null | undefined} value */
function shown(value) {
  if (value == null) return ''
  return typeof value === 'number' ? String(Number(value.toFixed(3))) : value
}
