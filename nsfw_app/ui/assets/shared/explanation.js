// The explanation on screen: at most one on the page, about the image for which it was requested.

/** @import { ExplanationState } from './explanationRequest.js' */
/** @import { Image } from './server.js' */

import { closest } from './dom.js'
import { cancelComputation, pollExplanation, startExplanation } from './explanationClient.js'
import { makeExplanationRequest, NOTHING } from './explanationRequest.js'
import { signal } from './signal.js'

/** @type {import('./signal.js').Signal<ExplanationState>} */
export const explanation = signal(NOTHING)

export const { toggle: toggleExplanation, close: closeExplanation } = makeExplanationRequest({
  start: startExplanation,
  poll: pollExplanation,
  cancel: cancelComputation,
  wait: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
  show(state) {
    explanation.value = state
  },
})

/** Cancels the one that is being computed. Returns whether there was one. */
export function cancelExplanation() {
  const running = explanation.value.phase === 'running'
  if (running) closeExplanation()
  return running
}

/**
 * Why an image cannot be explained, as a sentence; null where it can.
 *
 * @param {Image} image
 */
export function explanationRefusal({ error, nsfw_score: score, placeholder }) {
  if (error) return 'This image has no score, so there is nothing to explain.'
  if (score == null) return 'The heat map would show the hidden score. Decide first.'
  return placeholder ? null : 'No heat map: the preview of this image was deleted.'
}

// Leaving the tab removes it.
document.addEventListener('click', (event) => closest(event, '[role="tab"]') && closeExplanation())
