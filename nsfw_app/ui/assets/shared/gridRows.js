// The cards in lines: one row of the grid for each line on the screen, so that a screen reader says
// where a card is.

import { make } from './dom.js'

/** @typedef {{ element: HTMLElement }} Cell */

const GAP = 12 // pixels, as in gallery.css
/** Least widths of a card, in pixels. */
export const SIZES = [140, 160, 200, 260, 340, 440]
export const DEFAULT_SIZE = SIZES.indexOf(160)

/**
 * Creates the grid's element and keeps cards in its rows.
 *
 * @param {object} options
 * @param {string} options.label
 * @param {number} [options.size] Of the cards, an index of `SIZES`.
 */
export function makeRows({ label, size = DEFAULT_SIZE }) {
  const grid = make('div', {
    class: 'cards',
    role: 'grid',
    'aria-label': label,
    'aria-multiselectable': 'true',
  })
  const holder = make('div', { hidden: true }) // of the cards that are not shown
  const element = make('div', { class: 'grid' }, grid, holder)
  /** @type {HTMLElement[]} */
  const rows = []
  /** @type {Cell[]} */
  let shown = []
  let width = 0
  let columns = 1
  setSize(size)
  new ResizeObserver(([{ contentRect }]) => {
    if (!contentRect.width) return // the tab is closed
    width = contentRect.width
    fit()
  }).observe(element)

  function fit() {
    const fitting = Math.max(1, Math.floor((width + GAP) / (SIZES[size] + GAP)))
    if (fitting === columns) return
    columns = fitting
    grid.style.setProperty('--columns', String(columns))
    place(shown, [])
  }

  /** @param {number} next */
  function setSize(next) {
    size = next
    grid.style.setProperty('--card', `${SIZES[size]}px`)
    if (width) fit()
  }

  /**
   * Shows these cards in this order, and takes the hidden ones out of the rows.
   *
   * Moves as few elements as possible, since each move causes a layout.
   *
   * @param {Cell[]} next
   * @param {Cell[]} hidden
   */
  function place(next, hidden) {
    shown = next
    const focused = grid.contains(document.activeElement) ? document.activeElement : null
    for (const card of hidden) {
      if (card.element.parentNode !== holder) holder.append(card.element)
    }
    const count = Math.ceil(shown.length / columns)
    while (rows.length < count) {
      const row = make('div', { role: 'row', 'aria-rowindex': rows.length + 1 })
      rows.push(row)
      grid.append(row)
    }
    for (let at = 0; at < count; at += 1) {
      fill(rows[at], shown.slice(at * columns, (at + 1) * columns))
    }
    for (const row of rows.splice(count)) row.remove() // all of its cards have moved
    grid.hidden = count === 0
    grid.setAttribute('aria-rowcount', String(count))
    grid.setAttribute('aria-colcount', String(columns))
    if (focused instanceof HTMLElement && focused !== document.activeElement) {
      focused.focus({ preventScroll: true })
    }
  }

  return {
    element,
    place,
    setSize,
    gap: GAP,
    get columns() {
      return columns
    },
    get size() {
      return size
    },
  }
}

/**
 * Puts cards at the beginning of a row. What is left behind them belongs to a later row, which
 * takes it.
 *
 * @param {HTMLElement} row
 * @param {Cell[]} cards
 */
function fill(row, cards) {
  let node = row.firstChild
  for (const { element } of cards) {
    if (element === node) node = element.nextSibling
    else row.insertBefore(element, node)
  }
}
