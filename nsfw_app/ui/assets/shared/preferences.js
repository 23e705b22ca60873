// How previews are shown to this reviewer. Until the reviewer is known, the defaults apply: blurred
// and grayscale.

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

/** The preferences in force. */
export const preferences = signal(DEFAULTS)

/**
 * Changes some preferences, now and for later visits.
 *
 * @param {Partial<Preferences>} changes
 */
export function setPreferences(changes) {
  preferences.value = validated({ ...preferences.value, ...changes })
  if (reviewer !== null) remember(NAME, reviewer, preferences.value)
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
  if (now.reviewer === reviewer) return
  reviewer = now.reviewer
  preferences.value = validated(recall(NAME, reviewer))
})

// Another window of the same reviewer changed them.
window.addEventListener('storage', () => {
  if (reviewer !== null) preferences.value = validated(recall(NAME, reviewer))
})
