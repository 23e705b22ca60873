// The dialog with the reviewer's display preferences. Each change applies immediately.

/** @import { RevealMode } from './preferences.js' */

import { make } from './dom.js'
import { BLUR_PX, DEFAULTS, preferences, setPreferences } from './preferences.js'

const strength = make('input', {
  id: 'blur-strength',
  type: 'range',
  ...BLUR_PX,
  oninput: () => setPreferences({ blurPx: strength.valueAsNumber }),
})
const strengthText = make('output', { for: 'blur-strength' })
const greyscale = checkbox((on) => setPreferences({ greyscale: on }))
const greyscaleRevealed = checkbox((on) => setPreferences({ greyscaleRevealed: on }))
/** @type {Record<RevealMode, HTMLInputElement>} */
const modes = { hold: radio('hold'), click: radio('click'), at_once: radio('at_once') }

const dialog = make(
  'dialog',
  { class: 'viewing', 'aria-labelledby': 'viewing-title' },
  make('h2', { id: 'viewing-title' }, 'Viewing'),
  make(
    'div',
    { class: 'strength' },
    make('label', { for: 'blur-strength' }, 'Blur strength'),
    strength,
    strengthText,
  ),
  labeled(greyscale, 'Gray while blurred'),
  labeled(greyscaleRevealed, 'Gray when revealed too'),
  make(
    'fieldset',
    {},
    make('legend', {}, 'Images are revealed'),
    labeled(modes.hold, 'While V or the button is held'),
    labeled(modes.click, 'On and off by V, or by a click on the image'),
    labeled(modes.at_once, 'Likewise, and at once when an image comes up in the Queue'),
  ),
  make('p', { class: 'muted' }, 'Stored in this browser, for you only.'),
  make(
    'form',
    { method: 'dialog', class: 'buttons' },
    make('button', { class: 'quiet' }, 'Close'),
    make(
      'button',
      { type: 'button', class: 'quiet', onclick: () => setPreferences(DEFAULTS) },
      'Reset to defaults',
    ),
  ),
)

/** @param {(checked: boolean) => void} onChange */
function checkbox(onChange) {
  const input = make('input', { type: 'checkbox' })
  input.addEventListener('change', () => onChange(input.checked))
  return input
}

/** @param {RevealMode} value */
function radio(value) {
  const input = make('input', { type: 'radio', name: 'reveal-mode', value })
  input.addEventListener('change', () => setPreferences({ reveal: value }))
  return input
}

/**
 * @param {HTMLInputElement} input
 * @param {string} text
 */
function labeled(input, text) {
  return make('label', { class: 'line' }, input, make('span', {}, text))
}

/** Opens the dialog. */
export function openViewingDialog() {
  if (!dialog.isConnected) document.body.append(dialog)
  dialog.showModal()
}

preferences.subscribe((now) => {
  strength.value = String(now.blurPx)
  strengthText.textContent = `${now.blurPx} px`
  greyscale.checked = now.greyscale
  greyscaleRevealed.checked = now.greyscaleRevealed
  modes[now.reveal].checked = true
})
