// Taking the images so far as the reference of drift, which ends its alarm; for administrators.

/** @import { Drift } from './evidence.js' */

import { askFirst } from '../shared/confirmation.js'
import { make } from '../shared/dom.js'
import { jsonOf, jsonPost, messageOf, request } from '../shared/requests.js'
import { signal } from '../shared/signal.js'

const TITLE = 'Take the images so far as the reference'
const EFFECT =
  'The alarm ends. Images that arrive later are compared with those that came after it until now, from every source. Certificates and bounds do not change, and may not hold for images such as the latest ones: check the numbers first. The audit records who accepted them and why.'
const MAX_CHARACTERS = 4_000

/** The time at which images were last accepted in this window. */
export const accepted = signal(/** @type {string | null} */ (null))

/**
 * @param {() => URLSearchParams} query Selects the summary whose alarm ends.
 * @param {() => Promise<void>} onAccepted
 */
export function makeReferenceForm(query, onAccepted) {
  const message = make('p', { role: 'status' })
  const button = make('button', { id: 'accept-reference', type: 'button', onclick: ask }, TITLE)
  const element = make('div', { class: 'reference-form', hidden: true }, button, message)

  function ask() {
    const reason = make('input', {
      type: 'text',
      required: true,
      pattern: '.*\\S.*',
      maxlength: MAX_CHARACTERS,
      autocomplete: 'off',
    })
    askFirst({
      title: `${TITLE}?`,
      text: EFFECT,
      confirm: 'Take as the reference',
      content: [make('label', {}, make('span', {}, 'Why'), reason)],
      onConfirm: () => accept(reason.value),
      onClose: () => button.focus(),
    })
    reason.focus()
  }

  /** @param {string} reason */
  async function accept(reason) {
    message.textContent = 'Saving...'
    button.disabled = true
    try {
      const made = await jsonOf(
        await request(`insights/reference?${query()}`, jsonPost({ reason })),
      )
      accepted.value = made.accepted.at
      await onAccepted()
      message.textContent = ''
    } catch (error) {
      message.textContent = messageOf(error)
    }
    button.disabled = false
  }

  return {
    element,
    /** @param {{ drift: Drift, disagreement_drift: Drift }} summary */
    show({ drift, disagreement_drift: disagreements }) {
      element.hidden = drift.alarm === null && disagreements.alarm === null
    },
  }
}
