// The page's keyboard shortcuts: one listener, which passes a key to the open form, else to the open
// tab.
//
// - A key means the same wherever the focus is, except in text fields. Controls keep the keys that
//   they need: a slider its arrows, a list its arrows and Enter, a button Enter.
// - Space never presses a button of a tab with shortcuts: it skips.
// - After a click on a button the focus goes to the tab's stage.

import { closest, isVisible, make, watchVisibility } from './dom.js'
import { cancelExplanation } from './explanation.js'
import { keyDialog, toggleHelp } from './keyDialog.js'
import { keyOf, shortcutOf, wordOf } from './keymap.js'
import { keymap } from './keyPreferences.js'
import { policyDialog } from './policyDialog.js'
import { preferences } from './preferences.js'
import { revealedCount, toggleBlur } from './preview.js'

export { toggleHelp }

/**
 * @typedef {object} Shortcuts
 * @property {Record<string, () => unknown>} keys By the name of the shortcut, see `keymap.js`, with
 *   `Shift+` or `Ctrl+` before it.
 * @property {() => () => void} [reveal] Unblurs the image; returns a function that blurs it again.
 * @property {() => HTMLElement | null | undefined} [stage] The element that shows the image; focused
 *   after a click.
 */
/**
 * @typedef {object} OpenForm A form that takes the keys while it is on the page.
 * @property {HTMLElement} element
 * @property {(name: string, key: string) => boolean} press Whether the key was used.
 */

/** @type {(Shortcuts & { root: HTMLElement })[]} */
const tabs = []
/** @type {OpenForm | null} */
let latestForm = null
/** @type {{ code: string, hide: () => void } | null} What is revealed while a key is held. */
let held = null
/** @type {HTMLElement | null} The tab that was clicked last, until it has opened. */
let clickedTab = null
/** Whether Space was used as a shortcut and is still down. */
let spaceUsed = false

const TEXT_TYPES =
  'text search number date month week time datetime-local email password url tel'.split(' ')
const TEXT_FIELDS = [
  'textarea, [contenteditable], input:not([type])',
  ...TEXT_TYPES.map((type) => `input[type="${type}"]`),
].join()
const CONTROLS = `button, a, summary, select, input, ${TEXT_FIELDS}`
const MOVES = ['ArrowLeft', 'ArrowRight', 'ArrowUp', 'ArrowDown', 'Home', 'End']
const PAGES = ['PageUp', 'PageDown']
/** Keys that a focused control needs itself. @type {[string, string[]][]} */
const KEYS_OF_CONTROLS = [
  ['input[type="range"]', [...MOVES, ...PAGES]],
  ['input[type="radio"]', [...MOVES, ' ']],
  ['input[type="checkbox"], summary', [' ', 'Enter']],
  ['select', [...MOVES, ...PAGES, ' ', 'Enter', 'Escape']],
  ['[role="tab"]', [...MOVES, 'Enter']],
  ['[role="tab"]:not([aria-selected="true"])', [' ']],
  ['button, a, input[type="file"]', ['Enter']],
]

/**
 * Registers a tab's shortcuts. The tab is open while `root` is visible.
 *
 * @param {HTMLElement} root
 * @param {Shortcuts} shortcuts
 */
export function useKeys(root, shortcuts) {
  tabs.push({ root, ...shortcuts })
  watchVisibility(root, (visible) => {
    if (!clickedTab || !visible) return
    leave(clickedTab)
    clickedTab = null
  })
}

/**
 * Passes keys to a form for as long as it is visible.
 *
 * @param {OpenForm} form
 */
export function useForm(form) {
  latestForm = form
}

/** Moves the focus to the stage of the open tab. */
export function focusStage() {
  openTab()?.stage?.()?.focus({ preventScroll: true })
}

/**
 * The key of a shortcut as written on the page, as the reviewer chose it.
 *
 * @param {string} name
 */
export const keyWord = (name) => wordOf(keymap.value[name])

/**
 * The key of a shortcut, drawn again when the reviewer changes it: for elements that stay.
 *
 * @param {string} name
 */
export function keyHint(name) {
  const hint = make('kbd')
  keymap.subscribe(() => {
    hint.textContent = keyWord(name)
  })
  return hint
}

const openTab = () => tabs.find(({ root }) => isVisible(root))

const openForm = () => (latestForm && isVisible(latestForm.element) ? latestForm : null)

/**
 * The name of the shortcut that was pressed; null for a key of the browser.
 *
 * @param {KeyboardEvent} event
 * @param {string} key
 */
function nameOf(event, key) {
  if (event.isComposing || event.altKey) return null
  if (!event.ctrlKey && !event.metaKey) return shortcutOf(keymap.value, key)
  return key === 'z' ? 'undo' : `Ctrl+${key}`
}

/**
 * Whether the focused control needs the key itself.
 *
 * @param {KeyboardEvent} event
 */
function isOfControl({ target, key }) {
  if (!(target instanceof Element)) return false
  return KEYS_OF_CONTROLS.some(([selector, keys]) => keys.includes(key) && target.closest(selector))
}

/**
 * Whether the key would scroll the page behind a dialog that has nothing to scroll.
 *
 * @param {KeyboardEvent} event
 */
function scrollsPage(event) {
  if (![' ', ...MOVES, ...PAGES].includes(event.key) || closest(event, CONTROLS)) return false
  const dialog = closest(event, 'dialog')
  return dialog !== null && dialog.scrollHeight <= dialog.clientHeight
}

/** @param {KeyboardEvent} event */
function onKeyDown(event) {
  spaceUsed = false
  const key = keyOf(event)
  const name = nameOf(event, key)
  if (name === null || !use(event, name, key)) return
  event.preventDefault()
  spaceUsed = key === ' '
}

/**
 * Does what the key means. Returns whether the browser's own action is to be prevented.
 *
 * @param {KeyboardEvent} event
 * @param {string} name
 * @param {string} key
 */
function use(event, name, key) {
  if (name === '?' && keyDialog.open) return once(event, toggleHelp)
  if (name === 'p' && policyDialog.open) return once(event, policyDialog.toggle)
  const form = openForm()
  const dialogs = [...document.querySelectorAll('dialog[open]:not([data-keys])')]
  if (dialogs.some((dialog) => !dialog.contains(form?.element ?? null))) {
    return scrollsPage(event) || (key === ' ' && closest(event, '[data-records]') !== null)
  }
  if (form && name === 'Escape') return once(event, () => form.press(name, key))
  if (closest(event, TEXT_FIELDS) || isOfControl(event)) return false
  if (name === 'Escape' && cancelExplanation()) return true
  if (name === '?') return once(event, toggleHelp)
  if (name === 'p') return policyDialog.available && once(event, policyDialog.toggle)
  const tab = openTab()
  if (name === 'v' && tab) return once(event, () => revealBy(tab, event.code))
  if (name === 'b' && tab) return once(event, toggleBlur)
  if (form) {
    const used = !event.repeat && form.press(name, key)
    return used || Boolean(tab?.keys[name]) // else a key would decide behind the form
  }
  const action = (event.shiftKey && tab?.keys[`Shift+${name}`]) || tab?.keys[name]
  if (!action) return false
  return MOVES.includes(name) ? run(action) : once(event, action)
}

/** @param {() => unknown} action */
function run(action) {
  action()
  return true
}

/**
 * A held key acts once.
 *
 * @param {KeyboardEvent} event
 * @param {() => unknown} action
 */
const once = (event, action) => event.repeat || run(action)

/**
 * @param {Shortcuts} tab
 * @param {string} code Of the key that is held.
 */
function revealBy(tab, code) {
  const before = revealedCount()
  const hide = tab.reveal?.() ?? null
  if (preferences.value.reveal === 'hold') held = hide && { code, hide }
  else if (revealedCount() === before) hide?.() // already revealed: the second press hides
}

function endHold() {
  held?.hide()
  held = null
}

/** @param {KeyboardEvent} event */
function onKeyUp(event) {
  if (event.key === ' ' && spaceUsed) event.preventDefault() // else Firefox presses the button
  if (event.code === held?.code) endHold()
}

/** @param {MouseEvent} event */
function onClick(event) {
  const control = closest(event, 'button, a, summary, [role="tab"]')
  const byPointer = event.detail > 0
  if (!control || !byPointer || closest(event, 'dialog')) return
  if (control.getAttribute('role') === 'tab') clickedTab = control
  leave(control) // at once: the next key may follow immediately
}

/**
 * Moves the focus from a clicked control to the stage, unless the click moved it elsewhere.
 *
 * @param {HTMLElement} control
 */
function leave(control) {
  const { activeElement } = document
  if (activeElement === control || activeElement === document.body) focusStage()
}

document.addEventListener('keydown', onKeyDown)
document.addEventListener('keyup', onKeyUp)
document.addEventListener('click', onClick)
window.addEventListener('blur', endHold)
