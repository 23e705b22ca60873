// How many different images were revealed today. Which ones is known to this page only, and gone with
// it: what stays is a day and a number, so an image revealed in two visits counts in both.

import { onStatus } from './server.js'
import { recall, remember } from './storage.js'

const NAME = 'revealed'

let reviewer = null
let day = null
const seen = new Set()
const listeners = new Set()

const today = () => new Date().toLocaleDateString('sv-SE') // the reviewer's own day, as 2026-01-31

function count() {
  const stored = recall(NAME, reviewer)
  return stored?.day === today() && Number.isInteger(stored.count) ? stored.count : 0
}

/** Calls back with the number now, if known, and with each new one and the one before it. */
export function onTally(listener) {
  listeners.add(listener)
  if (reviewer !== null) listener(count(), count())
}

function tell(now, before) {
  for (const listener of listeners) listener(now, before)
}

document.addEventListener('picture:seen', ({ detail: image }) => {
  if (day !== today()) seen.clear()
  day = today()
  if (reviewer === null || seen.has(image)) return
  seen.add(image)
  const before = count()
  remember(NAME, reviewer, { day, count: before + 1 })
  tell(before + 1, before)
})

onStatus((status) => {
  if (status.reviewer === reviewer) return
  reviewer = status.reviewer
  seen.clear()
  tell(count(), count())
})
