// The dialog in which a reviewer says how pictures are shown. Each change has its effect at once.

import { make } from './dom.js'
import { BLUR_PX, DEFAULTS, onPreferences, prefer } from './preferences.js'

const strength = make('input', {
  id: 'blur-strength',
  type: 'range',
  ...BLUR_PX,
  oninput: () => prefer({ blurPx: strength.valueAsNumber }),
})
const strengthText = make('output', { for: 'blur-strength' })
const greyscale = box((on) => prefer({ greyscale: on }))
const greyscaleRevealed = box((on) => prefer({ greyscaleRevealed: on }))
const modes = {
  hold: mode('hold', 'While V or its button is held'),
  click: mode('click', 'On and off by V, or by a click on the image'),
}

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
  line(greyscale, 'Grey while blurred'),
  line(greyscaleRevealed, 'Grey when revealed too'),
  make(
    'fieldset',
    {},
    make('legend', {}, 'Images are revealed'),
    line(modes.hold, modes.hold.dataset.word),
    line(modes.click, modes.click.dataset.word),
  ),
  make('p', { class: 'muted' }, 'Kept in this browser for you, and for nobody else.'),
  make(
    'form',
    { method: 'dialog', class: 'buttons' },
    make('button', { class: 'quiet' }, 'Close'),
    make(
      'button',
      { type: 'button', class: 'quiet', onclick: () => prefer(DEFAULTS) },
      'Back to defaults',
    ),
  ),
)

function box(change) {
  const input = make('input', { type: 'checkbox' })
  input.addEventListener('change', () => change(input.checked))
  return input
}

function mode(value, word) {
  const input = make('input', { type: 'radio', name: 'reveal-mode', value, 'data-word': word })
  input.addEventListener('change', () => prefer({ reveal: value }))
  return input
}

function line(input, word) {
  return make('label', { class: 'line' }, input, make('span', {}, word))
}

/** Opens the dialog. */
export function openViewing() {
  if (!dialog.isConnected) document.body.append(dialog)
  dialog.showModal()
}

onPreferences((now) => {
  strength.value = now.blurPx
  strengthText.textContent = `${now.blurPx} px`
  greyscale.checked = now.greyscale
  greyscaleRevealed.checked = now.greyscaleRevealed
  modes[now.reveal].checked = true
})
