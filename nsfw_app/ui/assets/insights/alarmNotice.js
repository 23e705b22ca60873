// A line in the tabs where people work: the evidence behind the policy no longer holds, with a way
// to Insights.

import { make, openTab, watchVisibility } from '../shared/dom.js'
import { get } from '../shared/requests.js'
import { status } from '../shared/server.js'
import { accepted } from './referenceForm.js'

const LEAST_AGE_MS = 60_000 // of alarms that are asked for again when the tab is opened

/** Hidden while there is no alarm. It is brought up to date when its tab is opened. */
export function makeAlarmNotice() {
  let asked = Number.NEGATIVE_INFINITY
  let request = 0
  let known = ''
  const text = make('span')
  const line = make(
    'p',
    { class: 'alarm-notice', hidden: true },
    text,
    make(
      'button',
      { type: 'button', class: 'quiet', onclick: () => openTab('insights') },
      'Open Insights',
    ),
  )
  const element = make('div', { role: 'status' }, line)

  async function load() {
    const number = ++request
    asked = performance.now()
    try {
      const { alarms } = await get('insights/alarms')
      if (number !== request) return
      text.textContent = alarms.length
        ? `The evidence behind the policy no longer holds. ${alarms[0]}`
        : ''
      line.hidden = !alarms.length
    } catch {
      asked = Number.NEGATIVE_INFINITY // the connection's own notice says why
    }
  }

  status.subscribe(({ state, policy }) => {
    const next = `${state} ${policy.version}`
    if (next !== known) asked = Number.NEGATIVE_INFINITY
    known = next
  })
  accepted.subscribe(() => {
    asked = Number.NEGATIVE_INFINITY
  })
  return {
    element,
    /** @param {HTMLElement} tab An element of the tab that is never hidden. */
    watch(tab) {
      watchVisibility(tab, (visible) => {
        if (visible && performance.now() - asked > LEAST_AGE_MS) load()
      })
    },
  }
}
