// The selected cards, with the conventions of a file list, and the bar with their actions.

/** @import { Label } from '../shared/policy.js' */

import { make } from '../shared/dom.js'
import { LABELS } from '../shared/policy.js'

/** @typedef {{ hidden: boolean, setSelected: (selected: boolean) => void }} Selectable */

/**
 * A selection of cards.
 *
 * @template {Selectable} Card
 * @param {object} options
 * @param {() => Card[]} options.visible The cards on screen, in order: a range runs through these only.
 * @param {() => void} options.onChange
 */
export function makeSelection({ visible, onChange }) {
  /** @type {Set<Card>} */
  let selected = new Set()
  /** @type {Card | null} Where the next range begins. */
  let anchor = null

  /** @param {Set<Card>} next */
  function replace(next) {
    for (const card of selected) if (!next.has(card)) card.setSelected(false)
    for (const card of next) if (!selected.has(card)) card.setSelected(true)
    const changed = next.size !== selected.size || [...next].some((card) => !selected.has(card))
    selected = next
    if (changed) onChange()
  }

  return {
    /**
     * Selects one card and nothing else.
     *
     * @param {Card} card
     */
    only(card) {
      anchor = card
      replace(new Set([card]))
    },
    /**
     * Adds or removes a card.
     *
     * @param {Card} card
     */
    toggle(card) {
      anchor = card
      const next = new Set(selected)
      if (!next.delete(card)) next.add(card)
      replace(next)
    },
    /**
     * Selects from the card where the range began (else from `start`) to this one.
     *
     * @param {Card} card
     * @param {Card | null} start
     * @param {{ adding?: boolean }} [options]
     */
    extendTo(card, start, { adding = false } = {}) {
      const list = visible()
      let from = anchor ? list.indexOf(anchor) : -1
      if (from === -1) from = start ? Math.max(0, list.indexOf(start)) : 0
      anchor = list[from] ?? card
      const to = list.indexOf(card)
      const range = list.slice(Math.min(from, to), Math.max(from, to) + 1)
      replace(new Set(adding ? [...selected, ...range] : range))
    },
    /**
     * Selects these cards and nothing else.
     *
     * @param {Card[]} cards
     */
    choose(cards) {
      replace(new Set(cards))
    },
    /** Selects nothing; the next range begins at the focused card. */
    clear() {
      anchor = null
      replace(new Set())
    },
    /** Deselects cards that are no longer on screen, so that no hidden image is decided. */
    keepVisible() {
      if (selected.size) replace(new Set([...selected].filter((card) => !card.hidden)))
    },
    /** The selected cards in screen order. */
    cards: () => (selected.size ? visible().filter((card) => selected.has(card)) : []),
    get size() {
      return selected.size
    },
  }
}

/**
 * The bar below the grid.
 *
 * @param {object} handlers
 * @param {() => void} handlers.onAgree
 * @param {(label: Label) => void} handlers.onLabel
 * @param {() => void} handlers.onReasons
 * @param {() => void} handlers.onClear
 * @param {() => void} handlers.onAgreeWithRest
 */
export function makeSelectionBar({ onAgree, onLabel, onReasons, onClear, onAgreeWithRest }) {
  const text = make('span', { class: 'selection-count', role: 'status' })
  /** @param {string} word @param {() => void} onclick @param {Record<string, any>} [attributes] */
  const button = (word, onclick, attributes = {}) =>
    make('button', { type: 'button', onclick, ...attributes }, word)
  const agree = button('Agree', onAgree)
  const labels = LABELS.map((label) => button(label, () => onLabel(label)))
  const reasons = button('Reasons, note', onReasons, { class: 'reasons' })
  const clear = button('Clear', onClear, { class: 'quiet clear' })
  const rest = button('', onAgreeWithRest, { id: 'agree-rest' })
  const selectedActions = [agree, ...labels, reasons, clear]
  const element = make(
    'div',
    { class: 'selection-bar', role: 'group', 'aria-label': 'Decide several images', hidden: true },
    text,
    make(
      'div',
      { class: 'selection-actions' },
      agree,
      make('span', { class: 'set-label', id: 'set-label' }, 'Set label'),
      make(
        'span',
        { class: 'label-buttons', role: 'group', 'aria-labelledby': 'set-label' },
        ...labels,
      ),
      reasons,
      clear,
    ),
    rest,
  )

  /**
   * Shows how many cards are selected, and with how many the last button agrees.
   *
   * @param {number} selected
   * @param {Rest} others
   */
  function draw(selected, others) {
    const words = selected ? `${selected} selected` : 'None selected'
    if (text.textContent !== words) text.textContent = words
    element.classList.toggle('has-selection', selected > 0)
    for (const action of selectedActions) action.disabled = selected === 0
    const name = agreeWords(others)
    if (rest.textContent !== name) rest.textContent = name
    rest.disabled = others.count === 0
  }

  return { element, draw }
}

/** @typedef {{ count: number, unseen: number }} Rest Images without a decision; how many of them were never revealed. */

/**
 * The name of the button that agrees with all images without a decision.
 *
 * @param {Rest} rest
 */
export function agreeWords({ count, unseen }) {
  const noun = count === 1 ? 'image' : 'images'
  if (unseen && unseen === count) return `Agree with ${count} unseen ${noun}`
  return `Agree with ${count} ${noun}${unseen ? `, ${unseen} unseen` : ''}`
}
