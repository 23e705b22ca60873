// The list of decisions that are not saved: those that wait for the server, and those that it
// refused, with what can be done about them.

/** @import { Unsaved } from './unsavedDecisions.js' */

import { connection } from './connection.js'
import { make } from './dom.js'
import { unsavedDecisions } from './server.js'
import { signal } from './signal.js'
import { countOf } from './unsavedDecisions.js'

/**
 * What is to be shown as not saved. A decision that is being sent is not, until a first failure.
 */
export const unsaved = signal(/** @type {Unsaved[]} */ ([]))

/** Whether decisions of an outage wait, also after its end. */
let failing = false

function update() {
  const items = unsavedDecisions.items.value
  const waits = items.some(({ state }) => state === 'waiting')
  failing = waits && (failing || connection.value === 'offline' || items.some(isDelayed))
  const next = failing ? items : items.filter(({ state }) => state === 'refused')
  if (next.length || unsaved.value.length) unsaved.value = next
}
/** @param {Unsaved} item */
const isDelayed = ({ state, attempts }) => state === 'waiting' && attempts > 0
unsavedDecisions.items.subscribe(update)
connection.subscribe(update)

/**
 * Why no further decision is accepted: so many wait in an outage. Null where one is, which it is again
 * as soon as these are saved.
 */
export function stalledMessage() {
  if (!failing || !unsavedDecisions.stalled) return null
  const count = countOf(unsavedDecisions.items.value.filter(({ state }) => state === 'waiting'))
  return `Not recorded: ${count} decisions wait for the server. Go on when they are saved.`
}

/** Creates the list; it is hidden while everything is saved. */
export function makeUnsavedList() {
  const element = make('ul', { class: 'unsaved-list', 'aria-label': 'Not saved' })
  /** @type {Set<() => void>} */
  const listeners = new Set()
  unsaved.subscribe((items) => {
    element.replaceChildren(...items.map(line))
    element.hidden = !items.length
    for (const listener of listeners) listener()
  })
  return {
    element,
    /** @param {() => void} listener Called after each change. */
    subscribe: (listener) => listeners.add(listener),
  }
}

/** @param {Unsaved} item */
function line(item) {
  const { answers, state, message } = item
  const [{ name, label }] = answers
  const what = answers.length > 1 ? `${answers.length} images` : `${name}: ${label ?? 'excluded'}`
  const why =
    state === 'refused' ? `Refused: ${message}` : `Not saved yet. ${message || 'Waiting.'}`
  /** @param {string} word @param {() => void} onclick */
  const button = (word, onclick) =>
    make(
      'button',
      { type: 'button', class: 'quiet', onclick, 'aria-label': `${word}: ${what}` },
      word,
    )
  return make(
    'li',
    { class: state },
    make('b', { dir: 'auto' }, what),
    make('span', {}, why),
    state === 'refused'
      ? make(
          'span',
          { class: 'buttons' },
          button('Send again', () => unsavedDecisions.resend(item)),
          button('Discard', () => unsavedDecisions.dismiss(item)),
        )
      : null,
  )
}
