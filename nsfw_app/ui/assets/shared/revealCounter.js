// Counts the different images revealed today. The browser stores a day and a number; which images
// were revealed is known to this visit only, so an image revealed in two visits counts twice.

import { displayed } from './preview.js'
import { status } from './server.js'
import { signal } from './signal.js'
import { recall, remember } from './storage.js'

const NAME = 'revealed'

/** @type {string | null} */
let reviewer = null
/** @type {string | null} */
let day = null
/** @type {Set<string>} */
const counted = new Set()

/** The number of images; null until the reviewer is known. */
export const revealedToday = signal(/** @type {number | null} */ (null))

const today = () => new Date().toLocaleDateString('sv-SE') // local time zone, as 2026-01-31

/**
 * @param {string} name
 * @returns {number}
 */
function storedCount(name) {
  const stored = recall(NAME, name)
  return stored?.day === today() && Number.isInteger(stored.count) ? stored.count : 0
}

displayed.subscribe((sha256) => {
  if (day !== today()) counted.clear()
  day = today()
  if (reviewer === null || counted.has(sha256)) return
  counted.add(sha256)
  const count = storedCount(reviewer) + 1
  remember(NAME, reviewer, { day, count })
  revealedToday.value = count
})

status.subscribe((now) => {
  if (now.reviewer === reviewer) return
  reviewer = now.reviewer
  counted.clear()
  revealedToday.value = null // a count of another reviewer is no step towards the reminder
  revealedToday.value = storedCount(reviewer)
})
