// What a section shows while its numbers are counted, and if that fails. What it had before keeps
// its place, so that nothing moves, and is not seen under the name of another selection.

import { make } from '../shared/dom.js'
import { messageOf } from '../shared/requests.js'

/** @typedef {{ waiting: boolean, other: boolean, error: unknown }} State Of `makeLatestAnswer`. */

/**
 * A line for a section, and the function that marks sections by a state.
 *
 * @param {string} words While counting.
 * @param {() => void} again
 */
export function makePending(words, again) {
  const text = make('span', { role: 'status' })
  const retry = make(
    'button',
    { type: 'button', class: 'quiet', hidden: true, onclick: again },
    'Try again',
  )
  const line = make('p', { class: 'pending' }, text, retry)
  return {
    line,
    /** @param {State} state @param {HTMLElement[]} sections */
    mark({ waiting, other, error }, sections) {
      const failed = error !== null
      text.textContent = failed ? failure(error, other) : waiting && other ? words : ''
      retry.hidden = !failed
      line.classList.toggle('failed', failed)
      for (const section of sections) {
        section.setAttribute('aria-busy', String(waiting))
        section.classList.toggle('other', other)
      }
    },
  }
}

/** @param {unknown} error @param {boolean} other */
function failure(error, other) {
  const message = messageOf(error)
  return other ? message : `${message} The numbers are those from before.`
}
