// Who holds which images of the queue, for administrators, who can take a lease back.

/** @import { HeldLease } from '../shared/server.js' */

import { make } from '../shared/dom.js'
import { fileName } from '../shared/fileName.js'
import { may } from '../shared/permissions.js'
import { messageOf, queueLeases, releaseLease, status } from '../shared/server.js'
import { REASON_WORDS } from './queueHeader.js'

/** Builds the list; it is loaded when it is opened. */
export function makeLeaseList() {
  const list = make('ul', {})
  const message = make('p', { class: 'muted', role: 'status' })
  const element = make(
    'details',
    { class: 'lease-list', hidden: true },
    make('summary', {}, 'Who holds what'),
    message,
    list,
  )
  element.addEventListener('toggle', () => element.open && load())
  status.subscribe(() => {
    element.hidden = !may('manage')
  })

  async function load() {
    try {
      draw(await queueLeases())
    } catch (error) {
      message.textContent = messageOf(error)
    }
  }

  /** @param {HeldLease[]} leases */
  function draw(leases) {
    message.textContent = leases.length ? '' : 'No image is leased.'
    list.replaceChildren(...leases.map(drawLease))
  }

  /** @param {HeldLease} lease */
  function drawLease({ entry_id: entry, name, reviewer, until, reason }) {
    const time = new Date(until).toLocaleTimeString([], { timeStyle: 'short' })
    const onclick = () => take(entry)
    return make(
      'li',
      {},
      make('b', { dir: 'auto' }, reviewer),
      fileName(name),
      make('span', {}, `${REASON_WORDS[reason] ?? reason}, until ${time}`),
      make(
        'button',
        { type: 'button', onclick, 'aria-label': `Release ${name} of ${reviewer}` },
        'Release',
      ),
    )
  }

  /** @param {number} entry */
  async function take(entry) {
    try {
      await releaseLease(entry)
    } catch (error) {
      message.textContent = messageOf(error)
      return
    }
    await load()
  }

  return element
}
