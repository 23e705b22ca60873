// The line of a threshold slider: the threshold on screen and the policy's, with a way back to it.

import { make } from './dom.js'
import { parseThreshold } from './policy.js'
import { status } from './server.js'

/**
 * Adds the line to a slider. It is empty while the slider is at the policy's threshold.
 *
 * @param {string} name Of the tab.
 */
export function makeThresholdLine(name) {
  const chosen = make('span')
  const usual = make('span')
  const reset = make('button', { type: 'button', class: 'link', onclick: toPolicy }, 'reset')
  const line = make('span', { class: 'threshold-line', role: 'status' })
  let threshold = status.value?.policy.threshold ?? null
  place()

  function slider() {
    const input = document.querySelector(`#${name}-threshold input[type="range"]`)
    return input instanceof HTMLInputElement ? input : null
  }

  /** Gradio draws the slider later than this script may run. */
  function place() {
    const label = document.querySelector(`#${name}-threshold label`)
    if (label) label.after(line)
    else requestAnimationFrame(place)
  }

  function toPolicy() {
    const input = slider()
    if (!input || !status.value) return
    input.value = String(status.value.policy.threshold)
    input.dispatchEvent(new Event('input', { bubbles: true }))
  }

  function redraw() {
    const policy = status.value?.policy.threshold
    if (threshold === null || policy === undefined || threshold === policy) {
      line.replaceChildren()
      return
    }
    chosen.textContent = `${threshold.toFixed(2)}, policy `
    usual.textContent = `${policy.toFixed(2)}, `
    if (!line.hasChildNodes()) line.replaceChildren(chosen, usual, reset)
  }

  status.subscribe(redraw)
  return {
    /** @param {unknown} value As the slider sends it. */
    draw(value) {
      threshold = parseThreshold(value) ?? threshold
      redraw()
    },
  }
}
