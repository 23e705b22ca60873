// The button that requests the heat map of the image on screen, and removes it.

/** @import { Image } from './server.js' */

import { make } from './dom.js'
import { explanation, explanationRefusal, toggleExplanation } from './explanation.js'
import { wordOf } from './keymap.js'
import { keymap } from './keyPreferences.js'

/**
 * Makes the button; `toggle` is what its key does, `draw` is to be called when the image changes.
 *
 * @param {object} options
 * @param {() => Image | null | undefined} options.image The one on screen.
 * @param {(words: string) => void} options.say Says why it has no heat map.
 */
export function makeExplanationButton({ image, say }) {
  const key = make('kbd')
  const element = make(
    'button',
    { type: 'button', class: 'quiet explain', onclick: toggle },
    'Heat map',
    key,
  )

  function toggle() {
    const about = image()
    if (!about) return
    const refusal = explanationRefusal(about)
    if (refusal) say(refusal)
    else toggleExplanation(about)
  }

  // It is not disabled for a refused image: it can be focused, and says the reason.
  function draw() {
    const about = image()
    const state = explanation.value
    const refusal = about ? explanationRefusal(about) : null
    element.setAttribute('aria-pressed', String(state.phase !== 'none' && state.image === about))
    element.setAttribute('aria-disabled', String(refusal !== null))
    element.title = refusal ?? ''
    key.textContent = wordOf(keymap.value.h)
  }

  const watched = [explanation.subscribe(draw), keymap.subscribe(draw)]
  return {
    element,
    toggle,
    draw,
    remove() {
      for (const stop of watched) stop()
      element.remove()
    },
  }
}
