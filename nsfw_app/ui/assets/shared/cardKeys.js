// Keys and clicks that move through a grid of cards and select them, the same in each tab with one.

/** @import { Preview } from './preview.js' */
/** @import { Image } from './server.js' */

import { closest } from './dom.js'
import { makeExplanationButton } from './explanationButton.js'
import { inLoupe, isLoupeOpen } from './loupe.js'

/**
 * @typedef {object} GridCard
 * @property {boolean} hidden By the filters.
 * @property {boolean} focused
 * @property {HTMLElement} element
 * @property {Image} image
 * @property {Preview} preview
 */

/**
 * @template {GridCard} C
 * @typedef {object} Grid
 * @property {HTMLElement} element
 * @property {C | null} current
 * @property {(card: C | null | undefined, options?: { scroll?: boolean }) => void} focus
 * @property {(by: number) => C | undefined} neighbor
 * @property {(node: Element | null) => C | undefined} cardOf
 */

/**
 * @template {GridCard} C
 * @typedef {object} Selection
 * @property {() => void} clear
 * @property {(card: C) => void} only
 * @property {(card: C) => void} toggle
 * @property {(card: C, start: C | null, options?: { adding?: boolean }) => void} extendTo
 */

/**
 * Selects by click, and makes the keys that move.
 *
 * @template {GridCard} C
 * @param {object} options
 * @param {Grid<C>} options.grid
 * @param {Selection<C>} options.selection
 * @param {() => number} options.row Cards in a row.
 * @param {() => number} options.page Cards on a page.
 * @param {() => number} options.count Cards in all.
 * @param {(card: C) => void} options.onSkip
 * @param {(words: string) => void} options.say Says why a card has no heat map.
 * @param {() => void} [options.onMove]
 */
export function makeCardKeys({
  grid,
  selection,
  row,
  page,
  count,
  onSkip,
  say,
  onMove = () => {},
}) {
  /**
   * Selects by click: one card, with Shift a range, with Ctrl one more.
   *
   * @param {C} card
   * @param {MouseEvent} event
   * @param {{ toggling?: boolean }} [options]
   */
  function pick(card, event, { toggling = event.ctrlKey || event.metaKey } = {}) {
    const start = grid.current
    grid.focus(card, { scroll: false })
    if (event.shiftKey) selection.extendTo(card, start, { adding: event.ctrlKey || event.metaKey })
    else if (toggling) selection.toggle(card)
    else selection.only(card)
  }

  grid.element.addEventListener('mousedown', (event) => {
    if (event.shiftKey) event.preventDefault() // else the browser selects text and moves the focus
  })
  grid.element.addEventListener('click', (event) => {
    const card = grid.cardOf(closest(event, '.card'))
    if (card && !closest(event, 'button, details')) pick(card, event)
  })

  // One button, on the card that had the focus last.
  const explain = makeExplanationButton({ image: () => grid.current?.image, say })
  explain.element.tabIndex = -1
  grid.element.addEventListener('focusin', () => {
    const preview = grid.current?.preview.element
    if (preview !== explain.element.parentElement) preview?.append(explain.element)
    explain.draw()
  })

  /** @param {() => number} distance */
  const move = (distance) => () => {
    selection.clear()
    grid.focus(grid.neighbor(distance()))
    onMove()
  }

  /** @param {() => number} distance */
  const extend = (distance) => () => {
    const start = grid.current
    const card = grid.neighbor(distance())
    if (!card) return
    grid.focus(card)
    selection.extendTo(card, start)
  }

  const moveOn = move(() => 1)

  /** The card that a key acts on, which has the focus; the first key only focuses it. */
  function cardInFocus() {
    const card = grid.current
    if (!card || card.hidden) return null
    if (card.focused || isLoupeOpen()) return card
    grid.focus(card)
    return null
  }

  function skip() {
    const card = grid.current
    const focused = card?.focused || isLoupeOpen()
    moveOn()
    if (card && focused && grid.current !== card) onSkip(card)
  }

  /** @type {[string, () => number][]} */
  const moves = [
    ['ArrowRight', () => 1],
    ['ArrowLeft', () => -1],
    ['ArrowDown', row],
    ['ArrowUp', () => -row()],
    ['PageDown', page],
    ['PageUp', () => -page()],
    ['Home', () => -count()],
    ['End', count],
  ]

  return {
    pick,
    moveOn,
    cardInFocus,
    /** Shortcuts of the tab, see `keys.js`. */
    keys: {
      ...Object.fromEntries(moves.map(([key, distance]) => [key, move(distance)])),
      ...Object.fromEntries(moves.map(([key, distance]) => [`Shift+${key}`, extend(distance)])),
      ' ': skip,
      h: () => cardInFocus() && explain.toggle(),
      Escape: () => selection.clear(),
    },
    reveal: () => {
      const held = inLoupe(grid.current?.preview)
      held?.reveal()
      return () => held?.conceal()
    },
    stage: () => grid.current?.element,
  }
}
