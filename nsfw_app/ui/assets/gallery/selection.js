// Which cards are selected, by the habits of a file list, and the bar that answers for them.

import { make } from '../shared/dom.js'
import { markSelected } from './card.js'

const LABELS = ['normal', 'nsfw', 'unsure']

/**
 * A selection of cards. `visible` gives the cards on screen in their order: a range runs through
 * those and no others. `onChange` is told after every change.
 */
export function makeSelection({ visible, onChange }) {
  let selected = new Set()
  let anchor = null

  function become(next) {
    for (const card of selected) if (!next.has(card)) markSelected(card, false)
    for (const card of next) if (!selected.has(card)) markSelected(card, true)
    const changed = next.size !== selected.size || [...next].some((card) => !selected.has(card))
    selected = next
    if (changed) onChange()
  }

  return {
    /** Selects one card and nothing else. */
    only(card) {
      anchor = card
      become(new Set([card]))
    },
    /** Adds a card, or takes it out. */
    toggle(card) {
      anchor = card
      const next = new Set(selected)
      if (!next.delete(card)) next.add(card)
      become(next)
    },
    /** Selects from the card where the range began (else from `start`) to this one. */
    extendTo(card, start, { adding = false } = {}) {
      const list = visible()
      let from = list.indexOf(anchor)
      if (from === -1) from = Math.max(0, list.indexOf(start))
      anchor = list[from] ?? card
      const to = list.indexOf(card)
      const range = list.slice(Math.min(from, to), Math.max(from, to) + 1)
      become(new Set(adding ? [...selected, ...range] : range))
    },
    /** Selects these cards and nothing else. */
    choose(cards) {
      become(new Set(cards))
    },
    /** Selects nothing; the next range begins wherever the focus is then. */
    clear() {
      anchor = null
      become(new Set())
    },
    /** Lets go of cards that are no longer on screen, so that nothing unseen is ever answered. */
    keepVisible() {
      if (selected.size) become(new Set([...selected].filter((card) => !card.hidden)))
    },
    /** The selected cards in the order of the screen. */
    cards: () => (selected.size ? visible().filter((card) => selected.has(card)) : []),
    get size() {
      return selected.size
    },
  }
}

/** The bar below the grid. `onLabel` gets a label; the others get nothing. */
export function selectionBar({ onAgree, onLabel, onClear, onRest }) {
  const text = make('span', { class: 'selection-count', role: 'status' })
  const button = (word, act, attributes = {}) =>
    make('button', { type: 'button', onclick: act, ...attributes }, word)
  const agree = button('Agree', onAgree)
  const labels = LABELS.map((label) => button(label, () => onLabel(label)))
  const clear = button('Clear', onClear, { class: 'quiet clear' })
  const restCount = make('span', { class: 'rest-count' })
  const rest = button('Agree with the rest of this page', onRest, { id: 'agree-rest' })
  rest.append(restCount)
  const selectedActions = [agree, ...labels, clear]
  const element = make(
    'div',
    { class: 'selection-bar', role: 'group', 'aria-label': 'Answer several images', hidden: true },
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
      clear,
    ),
    rest,
  )

  /** Says how many are selected, and how many on screen wait for an answer. */
  function draw(selected, open) {
    const words = selected ? `${selected} selected` : 'None selected'
    if (text.textContent !== words) text.textContent = words
    element.classList.toggle('has-selection', selected > 0)
    for (const part of selectedActions) part.disabled = selected === 0
    restCount.textContent = String(open)
    rest.disabled = open === 0
  }

  return { element, draw }
}
