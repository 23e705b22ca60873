// A line in the tabs where people work: the evidence behind the policy no longer holds, with a way
// to Insights.

import { make, openTab, watchVisibility } from '../shared/dom.js'
import { get } from '../shared/requests.js'
import { status } from '../shared/server.js'
import { makeAlarms } from './alarms.js'
import { accepted } from './referenceForm.js'

const POLL_MS = 60_000 // while a tab with the line is open

export const alarms = makeAlarms(() => get('insights/alarms'))

const open = new Set() // tabs with the line: one, or two while another is opened
let known = ''
status.subscribe(({ state, policy }) => {
  const next = `${state} ${policy.version}`
  if (next === known) return
  known = next
  alarms.expire()
  if (open.size) alarms.ask()
})
accepted.subscribe(() => alarms.expire())

/** Hidden while there is no alarm. All lines show an alarm as soon as the page has it. */
export function makeAlarmNotice() {
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
  alarms.current.subscribe((found) => {
    text.textContent = found.length
      ? `The evidence behind the policy no longer holds. ${found[0]}`
      : ''
    line.hidden = !found.length
  })
  return {
    element,
    /** @param {HTMLElement} tab An element of the tab that is never hidden. */
    watch(tab) {
      /** @type {ReturnType<typeof setInterval> | undefined} */
      let timer
      watchVisibility(tab, (visible) => {
        clearInterval(timer)
        open.delete(tab)
        if (!visible) return
        open.add(tab)
        alarms.ask()
        timer = setInterval(() => document.hidden || alarms.ask(), POLL_MS)
      })
    },
  }
}
