// The keys that this reviewer chose, kept in the browser.

/** @import { Keymap } from './keymap.js' */

import { DEFAULT_KEYMAP, validKeymap } from './keymap.js'
import { status } from './server.js'
import { signal } from './signal.js'
import { recall, remember } from './storage.js'

const NAME = 'keys'

/** @type {string | null} */
let reviewer = null

/** The keys in force; the default ones until the reviewer is known. */
export const keymap = signal(DEFAULT_KEYMAP)

/**
 * Changes some keys, now and for later visits.
 *
 * @param {Keymap} changes
 */
export function setKeys(changes) {
  keymap.value = validKeymap({ ...keymap.value, ...changes })
  if (reviewer !== null) remember(NAME, reviewer, keymap.value)
}

status.subscribe((now) => {
  if (now.reviewer === reviewer) return
  reviewer = now.reviewer
  keymap.value = validKeymap(recall(NAME, reviewer))
})

// Another window of the same reviewer changed them.
window.addEventListener('storage', () => {
  if (reviewer !== null) keymap.value = validKeymap(recall(NAME, reviewer))
})
