// The size of the cards: two buttons and two keys. The browser keeps it for the reviewer.

import { make } from '../shared/dom.js'
import { DEFAULT_SIZE, SIZES } from '../shared/gridRows.js'
import { status } from '../shared/server.js'
import { recall, remember } from '../shared/storage.js'

const NAME = 'card-size'

/**
 * @param {(size: number) => void} onChange Called with an index of `SIZES`.
 */
export function makeCardSize(onChange) {
  let size = DEFAULT_SIZE
  /** @type {string | null} */
  let reviewer = null
  /** @param {string} sign @param {string} label @param {() => void} onclick */
  const button = (sign, label, onclick) =>
    make(
      'button',
      { type: 'button', class: 'quiet size', title: label, 'aria-label': label, onclick },
      sign,
    )
  const smaller = button('−', 'Smaller cards', () => step(-1))
  const larger = button('+', 'Larger cards', () => step(1))
  const element = make(
    'span',
    { class: 'card-size', role: 'group', 'aria-label': 'Card size' },
    smaller,
    larger,
  )

  /** @param {number} next */
  function set(next) {
    size = Math.max(0, Math.min(SIZES.length - 1, next))
    smaller.disabled = size === 0
    larger.disabled = size === SIZES.length - 1
    onChange(size)
  }

  /** @param {number} by */
  function step(by) {
    set(size + by)
    if (reviewer !== null) remember(NAME, reviewer, size)
  }

  status.subscribe((now) => {
    if (now.reviewer === reviewer) return
    reviewer = now.reviewer
    const stored = recall(NAME, reviewer)
    set(Number.isInteger(stored) ? stored : DEFAULT_SIZE)
  })
  return { element, step }
}
