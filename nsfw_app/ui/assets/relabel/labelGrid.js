// The Relabel tab's grid: the order of the cards, a row for each line of them on the screen, so that a
// screen reader says where a card is, and which card has the focus.

/** @import { LabelCard } from './labelCard.js' */

import { make } from '../shared/dom.js'

/** Creates an empty grid. */
export function makeLabelGrid() {
  const element = make('div', {
    class: 'cards',
    role: 'grid',
    'aria-label': 'Misclassifications',
    'aria-multiselectable': 'true',
  })
  let perRow = 0
  /** @type {LabelCard[]} */
  let cards = []
  /** @type {LabelCard | null} The one in the tab order. */
  let current = null
  /** @type {WeakMap<Element, LabelCard>} */
  const cardOf = new WeakMap()

  /** @param {LabelCard[]} next All cards, in order. */
  function show(next) {
    cards = next
    for (const card of cards) cardOf.set(card.element, card)
    place()
    if (!current || !cards.includes(current)) current = null
    if (cards.length) setCurrent(current ?? cards[0])
  }

  /** How many cards a line on the screen holds. */
  const columns = () => getComputedStyle(element).gridTemplateColumns.split(' ').length

  /** Puts the cards in rows. */
  function place() {
    const focused = element.contains(document.activeElement) ? document.activeElement : null
    element.hidden = !cards.length
    perRow = columns()
    const rows = []
    for (let at = 0; at < cards.length; at += perRow) {
      const line = cards.slice(at, at + perRow).map((card) => card.element)
      rows.push(make('div', { role: 'row' }, ...line))
    }
    element.replaceChildren(...rows)
    if (focused instanceof HTMLElement) focused.focus({ preventScroll: true })
  }

  new ResizeObserver(() => element.offsetParent && columns() !== perRow && place()).observe(element)

  /** @param {LabelCard} card */
  function setCurrent(card) {
    if (current && current !== card) {
      current.preview.conceal()
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
    element,
    show,
    focus,
    setCurrent,
    neighbor,
    columns,
    cards: () => cards,
    /** @param {Element | null} node */
    cardOf: (node) => (node ? cardOf.get(node) : undefined),
    get current() {
      return current
    },
  }
}
