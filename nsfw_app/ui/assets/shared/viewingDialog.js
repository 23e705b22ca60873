// The dialog with the reviewer's display preferences, and for admins the team's defaults. Each change
// applies immediately; the team's defaults are saved with a button.

/** @import { RevealMode } from './preferences.js' */
/** @import { ViewingDefaults } from './server.js' */

import { make } from './dom.js'
import { may } from './permissions.js'
import { BLUR_PX, preferences, resetPreferences, setPreferences } from './preferences.js'
import { messageOf, setViewingDefaults, status } from './server.js'

/** @type {ViewingDefaults} */
const UNSET = {
  blurPx: null,
  greyscale: null,
  greyscaleRevealed: null,
  reveal: null,
  pauseAfter: null,
}
/** @type {Record<string, string>} */
const REVEAL_WORDS = {
  hold: 'revealed while held',
  click: 'revealed on and off',
  at_once: 'revealed at once in the Queue',
}

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
const pause = make('input', { id: 'team-pause', type: 'number', min: 0, max: 100000, step: 1 })
const teamText = make('p', { class: 'muted team-defaults' })
const teamMessage = make('p', { role: 'status' })
const team = make(
  'fieldset',
  { class: 'team', hidden: true },
  make('legend', {}, 'Team defaults'),
  make('p', { class: 'muted' }, 'For everyone who has not chosen otherwise.'),
  make(
    'div',
    { class: 'pause-after' },
    make('label', { for: 'team-pause' }, 'Suggest a pause after revealed images (0: never)'),
    pause,
  ),
  make(
    'div',
    { class: 'buttons' },
    teamButton('Save these settings for the team', () => {
      const { blurPx, greyscale, greyscaleRevealed, reveal } = preferences.value
      const pauseAfter = Number.isInteger(pause.valueAsNumber) ? pause.valueAsNumber : null
      return { blurPx, greyscale, greyscaleRevealed, reveal, pauseAfter }
    }),
    teamButton('Remove team defaults', () => UNSET),
  ),
  teamMessage,
)

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
  teamText,
  make(
    'form',
    { method: 'dialog', class: 'buttons' },
    make('button', { class: 'quiet' }, 'Close'),
    make(
      'button',
      { type: 'button', class: 'quiet', onclick: resetPreferences },
      'Reset to defaults',
    ),
  ),
  team,
)

/**
 * @param {string} word
 * @param {() => ViewingDefaults} values
 */
function teamButton(word, values) {
  const onclick = async () => {
    try {
      await setViewingDefaults(values())
      teamMessage.textContent = 'Saved for the team.'
    } catch (error) {
      teamMessage.textContent = `Not saved. ${messageOf(error)}`
    }
  }
  return make('button', { type: 'button', onclick }, word)
}

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
  teamMessage.textContent = ''
  dialog.showModal()
}

preferences.subscribe((now) => {
  strength.value = String(now.blurPx)
  strengthText.textContent = `${now.blurPx} px`
  greyscale.checked = now.greyscale
  greyscaleRevealed.checked = now.greyscaleRevealed
  modes[now.reveal].checked = true
})

status.subscribe(({ viewing_defaults: defaults = UNSET, pause_after: pauseAfter }) => {
  team.hidden = !may('manage')
  if (document.activeElement !== pause) pause.value = String(defaults.pauseAfter ?? pauseAfter)
  const words = describeDefaults(defaults)
  teamText.hidden = !words.length
  teamText.textContent = `The team's defaults: ${words.join(', ')}.`
})

/**
 * Phrases for the team's defaults; empty without any.
 *
 * @param {ViewingDefaults} defaults
 */
function describeDefaults({ blurPx, greyscale, greyscaleRevealed, reveal, pauseAfter }) {
  const words = []
  if (blurPx !== null) words.push(`blur ${blurPx} px`)
  if (greyscale !== null) words.push(`${greyscale ? 'gray' : 'color'} while blurred`)
  if (greyscaleRevealed !== null) {
    words.push(`${greyscaleRevealed ? 'gray' : 'color'} when revealed`)
  }
  if (reveal !== null) words.push(REVEAL_WORDS[reveal] ?? reveal)
  if (pauseAfter) words.push(`a pause suggested after ${pauseAfter} images`)
  return words
}
