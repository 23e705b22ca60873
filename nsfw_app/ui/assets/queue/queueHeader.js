// What the queue holds and how it is worked through: counts, pace, filter by reason, order.

/** @import { QueueSummary } from '../shared/server.js' */

import { make } from '../shared/dom.js'
import { keyHint } from '../shared/keys.js'
import { duration, makePace } from './pace.js'

/** @type {Record<string, string>} */
export const REASON_WORDS = {
  adjudication: 'Adjudication',
  second_opinion: 'Second opinion',
  disagreement: 'Disagreement',
  review: 'Review band',
  audit: 'Audit',
}

/**
 * Builds the header.
 *
 * @param {object} handlers
 * @param {() => void} handlers.onFilter Called when order or reason have changed.
 * @param {() => void} handlers.onSkip
 * @param {() => void} handlers.onSecondOpinion
 * @param {() => void} handlers.onUndo
 */
export function makeQueueHeader({ onFilter, onSkip, onSecondOpinion, onUndo }) {
  const pace = makePace()
  let waiting = 0
  /** @type {QueueSummary | null} */
  let summary = null

  const count = make('span', { id: 'queue-waiting', class: 'waiting', role: 'status' })
  const oldest = make('span', { class: 'muted' })
  const decided = make('span', { class: 'pace muted' })
  const order = make(
    'select',
    { 'aria-label': 'Order', onchange: onFilter },
    make('option', { value: 'priority' }, 'By priority, nearest to the threshold'),
    make('option', { value: 'oldest' }, 'Oldest first'),
  )
  const reason = make('select', { 'aria-label': 'Reason', onchange: onFilter })
  /** @param {string} word @param {string} key @param {() => void} onclick */
  const button = (word, key, onclick) =>
    make('button', { type: 'button', class: 'quiet', onclick }, word, keyHint(key))
  const skip = button('Skip', ' ', onSkip)
  const secondOpinion = button('Second opinion', 'f', onSecondOpinion)
  const element = make(
    'div',
    { class: 'queue-header' },
    make('p', { class: 'queue-counts' }, count, oldest, decided),
    make('div', { class: 'queue-filters' }, reason, order),
    make('div', { class: 'buttons' }, skip, secondOpinion, button('Undo', 'undo', onUndo)),
  )

  function draw() {
    count.textContent = waiting === 1 ? '1 image waiting' : `${waiting} images waiting`
    const since = summary?.oldest_entered_at
    oldest.textContent = since ? `oldest ${duration(Date.now() - Date.parse(since))}` : ''
    const rate = pace.perMinute(performance.now())
    const speed = rate === null ? '' : `, ${rate.toFixed(1)} per minute`
    decided.textContent = `decided here: ${pace.decided}${speed}`
    drawReasons()
  }

  function drawReasons() {
    const counts = summary?.by_reason ?? {}
    const codes = Object.keys(REASON_WORDS).filter((code) => counts[code] || code === reason.value)
    const all = Object.values(counts).reduce((sum, n) => sum + n, 0)
    const words = [
      ['', `All reasons (${all})`],
      ...codes.map((code) => [code, `${REASON_WORDS[code]} (${counts[code] ?? 0})`]),
    ]
    const present = [...reason.options].map(({ value, text }) => [value, text])
    if (words.join() === present.join()) return
    const { value } = reason
    reason.replaceChildren(...words.map(([code, text]) => make('option', { value: code }, text)))
    reason.value = value
  }

  draw()
  return {
    element,
    pace,
    draw,
    get order() {
      return order.value
    },
    /** The only reason to claim, or null. */
    get reason() {
      return reason.value || null
    },
    /** @param {number} n */
    setWaiting(n) {
      waiting = Math.max(0, n)
      draw()
    },
    get waiting() {
      return waiting
    },
    /** @param {QueueSummary} next */
    setSummary(next) {
      summary = next
      draw()
    },
    /** @param {boolean} hasImage */
    setImage(hasImage) {
      skip.disabled = secondOpinion.disabled = !hasImage
    },
  }
}
