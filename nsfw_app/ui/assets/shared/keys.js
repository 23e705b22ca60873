// The page's keyboard shortcuts: one listener, which passes a key to the open tab.

import { closest, inField, isVisible, make } from './dom.js'
import { policyDialog } from './policyDialog.js'
import { preferences } from './preferences.js'
import { revealedCount, toggleBlur } from './preview.js'

const HELP = [
  ['A', 'Agree with the model'],
  ['X', 'Disagree'],
  ['1', 'Label the image normal'],
  ['2', 'Label the image nsfw'],
  ['Space', 'Skip to the next image'],
  ['Backspace, Ctrl+Z', 'Undo the last decision'],
  ['F', 'Request a second opinion'],
  ['N', 'Add reasons or a note'],
  ['Arrows', 'Move without deciding'],
  ['Shift+Arrows', 'Gallery: select a range; A, X, 1 and 2 then apply to all of it'],
  ['Esc', 'Gallery: clear the selection'],
  ['V', 'Reveal the image: while held, or on and off, as set in Viewing'],
  ['B', 'Blur on or off for all images'],
  ['P', 'Show the policy text, if there is one'],
  ['?', 'Show or hide these keys'],
]

/**
 * @typedef {object} Shortcuts
 * @property {Record<string, () => unknown>} keys By the name of the key; `undo` is Backspace and Ctrl+Z.
 * @property {() => () => void} [hold] Reveals; the function that it returns hides.
 * @property {() => HTMLElement | null | undefined} [stage] Takes the focus after a click.
 */

/** @type {(Shortcuts & { root: HTMLElement })[]} */
const tabs = []
/** @type {(() => void) | null} Hides what is revealed while V is held. */
let endHold = null

/**
 * Registers a tab's shortcuts. The tab is open while `root` is visible.
 *
 * @param {HTMLElement} root
 * @param {Shortcuts} shortcuts
 */
export function useKeys(root, shortcuts) {
  tabs.push({ root, ...shortcuts })
}

const help = make(
  'dialog',
  { class: 'keys-overlay', 'aria-label': 'Keys' },
  make('h2', {}, 'Keys'),
  make(
    'dl',
    {},
    ...HELP.flatMap(([key, meaning]) => [
      make('dt', {}, make('kbd', {}, key)),
      make('dd', {}, meaning),
    ]),
  ),
  make('form', { method: 'dialog' }, make('button', { class: 'quiet' }, 'Close')),
)

/** Shows or hides the list of keys. */
export function toggleHelp() {
  if (!help.isConnected) document.body.append(help)
  if (help.open) help.close()
  else help.showModal()
}

/**
 * The name of a shortcut's key; null with a modifier that belongs to the browser.
 *
 * @param {KeyboardEvent} event
 */
function nameOf(event) {
  if ((event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === 'z')
    return 'undo'
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return null
  if (event.key === 'Backspace') return 'undo'
  return event.key.length === 1 ? event.key.toLowerCase() : event.key
}

/**
 * Whether the focused control handles the key itself.
 *
 * @param {KeyboardEvent} event
 * @param {string} name
 */
function isOfControl(event, name) {
  const control = closest(event, 'button, a, [role="tab"], summary')
  if (!control) return false
  if (control.getAttribute('role') === 'tab' && name.startsWith('Arrow')) return true
  const isOpenTab = control.getAttribute('aria-selected') === 'true' // pressing it has no effect
  return !isOpenTab && [' ', 'Enter'].includes(name)
}

/** @param {KeyboardEvent} event */
function onKeyDown(event) {
  const name = nameOf(event)
  if (name === '?' && help.open) {
    help.close()
    return
  }
  if (name === 'p' && policyDialog.open) {
    if (!event.repeat) policyDialog.toggle()
    return
  }
  if (name === null || inField(event) || isOfControl(event, name)) return
  if (name === '?') return toggleHelp()
  if (name === 'p' && policyDialog.available && !event.repeat) return policyDialog.toggle()
  const tab = tabs.find(({ root }) => isVisible(root))
  if (!tab) return
  if (name === 'v') {
    event.preventDefault()
    if (!event.repeat) revealBy(tab)
    return
  }
  const shifted = event.shiftKey ? tab.keys[`Shift+${name}`] : undefined
  const action = name === 'b' ? toggleBlur : (shifted ?? tab.keys[name])
  if (!action) return
  event.preventDefault()
  if (event.repeat && !name.startsWith('Arrow')) return // a held key decides once
  action()
}

/** @param {Shortcuts} tab */
function revealBy(tab) {
  const before = revealedCount()
  const hide = tab.hold?.() ?? null
  if (preferences.value.reveal === 'hold') endHold = hide
  else if (revealedCount() === before) hide?.() // already revealed: the second press hides
}

/** @param {KeyboardEvent} event */
function onKeyUp(event) {
  if (event.key.toLowerCase() !== 'v') return
  endHold?.()
  endHold = null
}

document.addEventListener('keydown', onKeyDown)
document.addEventListener('keyup', onKeyUp)
window.addEventListener('blur', () => {
  endHold?.()
  endHold = null
})
