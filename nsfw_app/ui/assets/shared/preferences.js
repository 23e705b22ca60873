// How pictures are shown to this reviewer. Until their choice is known, blurred and grey.

import { onStatus } from './server.js'
import { recall, remember } from './storage.js'

export const BLUR_PX = { min: 6, max: 40, step: 2 }
export const DEFAULTS = { blurPx: 14, greyscale: true, greyscaleRevealed: false, reveal: 'hold' }
export const REVEAL_MODES = ['hold', 'click']
const NAME = 'viewing'

let current = DEFAULTS
let reviewer = null
const listeners = new Set()

/** What is in force. */
export const preferences = () => current

/** Calls back now and whenever a preference changes. */
export function onPreferences(listener) {
  listeners.add(listener)
  listener(current)
}

/** Changes some preferences, at once and for the visits to come. */
export function prefer(changes) {
  use({ ...current, ...changes })
  if (reviewer !== null) remember(NAME, reviewer, current)
}

/** Stored values come from elsewhere: whatever is not a possible choice is the default. */
function checked(stored) {
  const { blurPx, greyscale, greyscaleRevealed, reveal } = { ...DEFAULTS, ...stored }
  const possible = Number.isFinite(blurPx) && blurPx >= BLUR_PX.min && blurPx <= BLUR_PX.max
  return {
    blurPx: possible ? blurPx : DEFAULTS.blurPx,
    greyscale: greyscale !== false,
    greyscaleRevealed: greyscaleRevealed === true,
    reveal: REVEAL_MODES.includes(reveal) ? reveal : DEFAULTS.reveal,
  }
}

function use(wanted) {
  current = checked(wanted)
  const { style, dataset } = document.documentElement
  style.setProperty('--picture-blur', `${current.blurPx}px`)
  style.setProperty('--hidden-grey', current.greyscale ? 1 : 0)
  style.setProperty('--revealed-grey', current.greyscaleRevealed ? 1 : 0)
  dataset.reveal = current.reveal
  for (const listener of listeners) listener(current)
}

onStatus((status) => {
  if (status.reviewer === reviewer) return
  reviewer = status.reviewer
  use(recall(NAME, reviewer))
})

/** Another window of the same reviewer follows. */
window.addEventListener('storage', () => {
  if (reviewer !== null) use(recall(NAME, reviewer))
})
