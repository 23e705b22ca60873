// How previews are shown to this reviewer: as the reviewer chose, else as the team's defaults say, else
// blurred and grayscale. Until the reviewer is known, the last.

import { status } from './server.js'
import { signal } from './signal.js'
import { recall, remember } from './storage.js'

/** @typedef {'hold' | 'click' | 'at_once'} RevealMode `at_once`: as `click`, and in the Queue by itself. */

/**
 * @typedef {object} Preferences Stored by browsers under these names.
 * @property {number} blurPx
 * @property {boolean} greyscale While blurred.
 * @property {boolean} greyscaleRevealed
 * @property {RevealMode} reveal
 */

export const BLUR_PX = { min: 6, max: 40, step: 2 }
/** @type {Preferences} */
export const DEFAULTS = { blurPx: 14, greyscale: true, greyscaleRevealed: false, reveal: 'hold' }
const NAME = 'viewing'

/** @type {string | null} */
let reviewer = null

/** What this reviewer chose. @type {Partial<Preferences>} */
let chosen = {}

/** The preferences in force. */
export const preferences = signal(DEFAULTS)

/**
 * Changes some preferences, now and for later visits.
 *
 * @param {Partial<Preferences>} changes
 */
export function setPreferences(changes) {
  choose({ ...chosen, ...changes })
}

/** Forgets what the reviewer chose: the team's defaults apply. */
export function resetPreferences() {
  choose({})
}

/** @param {Partial<Preferences>} next */
function choose(next) {
  chosen = next
  if (reviewer !== null) remember(NAME, reviewer, chosen)
  apply()
}

function apply() {
  preferences.value = inForce(status.value?.viewing_defaults ?? {}, chosen)
}

/**
 * The preferences in force.
 *
 * @param {Record<string, any>} team The team's defaults; null where there is none.
 * @param {Record<string, any> | null} own What the reviewer chose.
 */
export function inForce(team, own) {
  const set = Object.entries(team).filter(([, value]) => value !== null)
  return validated({ ...Object.fromEntries(set), ...own })
}

/**
 * Stored values are not trusted: an invalid one becomes the default.
 *
 * @param {Record<string, any> | null} stored
 * @returns {Preferences}
 */
export function validated(stored) {
  const { blurPx, greyscale, greyscaleRevealed, reveal } = { ...DEFAULTS, ...stored }
  const inRange = Number.isFinite(blurPx) && blurPx >= BLUR_PX.min && blurPx <= BLUR_PX.max
  return {
    blurPx: inRange ? blurPx : DEFAULTS.blurPx,
    greyscale: greyscale !== false,
    greyscaleRevealed: greyscaleRevealed === true,
    reveal: ['click', 'at_once'].includes(reveal) ? reveal : DEFAULTS.reveal,
  }
}

preferences.subscribe((now) => {
  const { style, dataset } = document.documentElement
  style.setProperty('--preview-blur', `${now.blurPx}px`)
  style.setProperty('--hidden-gray', now.greyscale ? '1' : '0')
  style.setProperty('--revealed-gray', now.greyscaleRevealed ? '1' : '0')
  dataset.reveal = now.reveal === 'hold' ? 'hold' : 'click'
})

status.subscribe((now) => {
  if (now.reviewer !== reviewer) {
    reviewer = now.reviewer
    chosen = recall(NAME, reviewer) ?? {}
  }
  apply()
})

// Another window of the same reviewer changed them.
window.addEventListener('storage', () => {
  if (reviewer === null) return
  chosen = recall(NAME, reviewer) ?? {}
  apply()
})
