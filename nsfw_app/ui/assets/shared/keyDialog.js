// The list of keys, which is also where a reviewer changes them.

/** @import { Shortcut } from './keymap.js' */

import { closest, make } from './dom.js'
import { conflictOf, DEFAULT_KEYMAP, FIXED, keyOf, SHORTCUTS, wordOf } from './keymap.js'
import { keymap, setKeys } from './keyPreferences.js'

const HINT = 'Press a key to change it. Stored in this browser, for you only.'

/** @type {Shortcut | null} The one whose new key is awaited. */
let awaited = null

const message = make('p', { class: 'muted', role: 'status' })
const rows = SHORTCUTS.map((shortcut) => {
  const onclick = () => awaitKey(shortcut)
  return { shortcut, button: make('button', { type: 'button', class: 'key', onclick }) }
})
const reset = make(
  'button',
  { type: 'button', class: 'quiet', onclick: () => change(DEFAULT_KEYMAP, 'All keys are reset.') },
  'Reset keys',
)
const dialog = make(
  'dialog',
  { class: 'keys-overlay', 'aria-label': 'Keys' },
  make('h2', { tabindex: '-1', autofocus: true }, 'Keys'),
  make(
    'dl',
    {},
    ...rows.flatMap(({ shortcut, button }) => describe(button, shortcut.meaning)),
    ...FIXED.flatMap(([keys, meaning]) => describe(make('kbd', {}, keys), meaning)),
  ),
  message,
  make(
    'form',
    { method: 'dialog', class: 'buttons' },
    make('button', { class: 'quiet' }, 'Close'),
    reset,
  ),
)

/** @param {HTMLElement} key @param {string} meaning */
function describe(key, meaning) {
  return [make('dt', {}, key), make('dd', {}, meaning)]
}

/** @param {Shortcut | null} shortcut */
function awaitKey(shortcut) {
  awaited = shortcut
  draw()
}

/**
 * @param {import('./keymap.js').Keymap} changes
 * @param {string} words
 */
function change(changes, words) {
  awaited = null
  setKeys(changes)
  message.textContent = words
}

/** @param {KeyboardEvent} event */
function onKeyDown(event) {
  if (!awaited || ['Shift', 'Control', 'Alt', 'Meta', 'AltGraph', 'Tab'].includes(event.key)) return
  event.preventDefault()
  event.stopPropagation()
  if (event.repeat) return
  const { name, meaning } = awaited
  const key = keyOf(event)
  if (key === 'Escape') {
    awaitKey(null)
    return
  }
  const conflict = conflictOf(keymap.value, name, key)
  if (conflict) message.textContent = `${conflict} Press another key, or Esc.`
  else change({ [name]: key }, `${meaning}: ${wordOf(key)}.`)
}

function draw() {
  for (const { shortcut, button } of rows) {
    const waits = shortcut === awaited
    const key = wordOf(keymap.value[shortcut.name])
    button.textContent = waits ? 'Press a key' : key
    button.setAttribute('aria-label', waits ? 'Press a key' : `${key}, change the key`)
    button.setAttribute('aria-pressed', String(waits))
  }
  message.textContent = awaited ? `${awaited.meaning}: press the new key, or Esc.` : HINT
}

dialog.addEventListener('keydown', onKeyDown)
dialog.addEventListener('close', () => awaitKey(null))
dialog.addEventListener('keyup', (event) => {
  if (event.key === ' ' && closest(event, '.key')) event.preventDefault()
})
keymap.subscribe(draw)

export const keyDialog = {
  get open() {
    return dialog.open
  },
}

/** Shows or hides the list of keys. */
export function toggleHelp() {
  if (!dialog.isConnected) document.body.append(dialog)
  if (dialog.open) dialog.close()
  else dialog.showModal()
}
