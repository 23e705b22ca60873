// Where the cells of an explanation lie in the image, and the marked area as a line and in text.
// No DOM.

/** @import { Explanation } from './explanationRequest.js' */

/** @typedef {{ width: number, height: number }} Size Of the image, in pixels. */
/** @typedef {{ x: number, y: number, width: number, height: number, value: number }} Cell */

const MOST = 2 / 3 // of the marked area lies in a third of the image that describes its place
const ROWS = ['upper', 'middle', 'lower']
const COLUMNS = ['left', 'center', 'right']

/**
 * The cells that the model's input reaches. Neighbors share their edges exactly.
 *
 * @param {Pick<Explanation, 'rows' | 'columns' | 'values'>} explanation
 * @param {Size} size
 * @returns {Cell[]}
 */
export function cellsOf({ rows, columns, values }, size) {
  const x = edges(columns, size.width)
  const y = edges(rows, size.height)
  return values.flatMap((line, row) =>
    line.flatMap((value, column) => {
      if (value === null) return []
      const [width, height] = [x[column + 1] - x[column], y[row + 1] - y[row]]
      return [{ x: x[column], y: y[row], width, height, value }]
    }),
  )
}

/**
 * The outline of the marked cells, as the data of an SVG path.
 *
 * @param {Pick<Explanation, 'rows' | 'columns' | 'marked'>} explanation
 * @param {Size} size
 */
export function outlineOf({ rows, columns, marked }, size) {
  const x = edges(columns, size.width)
  const y = edges(rows, size.height)
  /** @param {number} row @param {number} column */
  const isMarked = (row, column) => marked[row]?.[column] === true
  const lines = []
  for (let row = 0; row <= rows; row += 1) {
    for (let column = 0; column <= columns; column += 1) {
      const here = isMarked(row, column)
      const start = `M${x[column]} ${y[row]}`
      if (here !== isMarked(row - 1, column)) lines.push(`${start}H${x[column + 1]}`)
      if (here !== isMarked(row, column - 1)) lines.push(`${start}V${y[row + 1]}`)
    }
  }
  return lines.join('')
}

/**
 * The place and size of the marked area, as a sentence.
 *
 * @param {Pick<Explanation, 'rows' | 'columns' | 'marked'>} explanation
 */
export function describeMarked({ rows, columns, marked }) {
  const perRow = marked.map((line) => line.filter(Boolean).length)
  const perColumn = Array.from(
    { length: columns },
    (_, at) => marked.filter((line) => line[at]).length,
  )
  const count = perRow.reduce((sum, cells) => sum + cells, 0)
  if (!count) return 'No area is marked.'
  const percent = Math.round((100 * count) / (rows * columns))
  const share = percent ? `${percent} %` : 'less than 1 %'
  return `Marked area: ${placeOf(thirdOf(perRow), thirdOf(perColumn))}, ${share} of the image.`
}

/**
 * @param {number | null} row A third from above; null where the area is in no third.
 * @param {number | null} column From the left.
 */
function placeOf(row, column) {
  if (row === null && column === null) return 'spread over the image'
  if (column === null) return `${ROWS[row ?? 0]} part`
  if (row === null) return column === 1 ? 'center, from top to bottom' : `${COLUMNS[column]} side`
  if (row === 1) return column === 1 ? 'center' : `${COLUMNS[column]}, at half height`
  return `${ROWS[row]} ${COLUMNS[column]}`
}

/**
 * The third of a side in which most of the marked cells lie; null where they lie in several.
 *
 * @param {number[]} counts Of the marked cells in each row, or in each column.
 */
function thirdOf(counts) {
  const total = counts.reduce((sum, cells) => sum + cells, 0)
  const thirds = [0, 0, 0]
  counts.forEach((cells, at) => {
    thirds.forEach((_, third) => {
      const from = Math.max(at / counts.length, third / 3)
      const to = Math.min((at + 1) / counts.length, (third + 1) / 3)
      thirds[third] += cells * Math.max(0, to - from) * counts.length
    })
  })
  const found = thirds.findIndex((cells) => cells >= MOST * total - 1e-9)
  return found === -1 ? null : found
}

/**
 * The edges of equal intervals.
 *
 * @param {number} count
 * @param {number} length
 */
const edges = (count, length) => Array.from({ length: count + 1 }, (_, at) => (at * length) / count)
