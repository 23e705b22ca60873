// The Relabel tab's grid: the order of the cards, and which one has the focus.

/** @import { LabelCard } from './labelCard.js' */

import { closeExplanation } from '../shared/explanation.js'
import { makeRows, SIZES } from '../shared/gridRows.js'

/** Creates an empty grid. */
export function makeLabelGrid() {
  const rows = makeRows({ label: 'Misclassifications', size: SIZES.indexOf(200) })
  /** @type {LabelCard[]} */
  let cards = []
  /** @type {LabelCard | null} The one in the tab order. */
  let current = null
  /** @type {WeakMap<Element, LabelCard>} */
  const cardOf = new WeakMap()

  /** @param {LabelCard[]} next All cards, in order. */
  function show(next) {
    const gone = cards.filter((card) => !next.includes(card))
    cards = next
    for (const card of cards) cardOf.set(card.element, card)
    rows.place(cards, gone)
    if (!current || !cards.includes(current)) current = null
    if (cards.length) setCurrent(current ?? cards[0])
  }

  /** @param {LabelCard} card */
  function setCurrent(card) {
    if (current && current !== card) {
      current.preview.conceal()
      closeExplanation(current.image)
      current.element.tabIndex = -1
    }
    current = card
    card.element.tabIndex = 0
  }

  /**
   * @param {LabelCard | null | undefined} card
   * @param {{ scroll?: boolean }} [options]
   */
  function focus(card, { scroll = true } = {}) {
    if (!card) return
    setCurrent(card)
    if (!card.focused) card.element.focus({ preventScroll: true })
    if (scroll) card.element.scrollIntoView({ block: 'nearest' })
  }

  /**
   * The card so many places from the current one, or the last one in that direction.
   *
   * @param {number} by
   * @returns {LabelCard | undefined}
   */
  function neighbor(by) {
    const at = current ? cards.indexOf(current) : 0
    return cards[Math.max(0, Math.min(cards.length - 1, at + by))]
  }

  return {
    element: rows.element,
    show,
    focus,
    setCurrent,
    neighbor,
    columns: () => rows.columns,
    cards: () => cards,
    /** @param {Element | null} node */
    cardOf: (node) => (node ? cardOf.get(node) : undefined),
    get current() {
      return current
    },
  }
}
