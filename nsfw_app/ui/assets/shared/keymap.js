// What each shortcut means, and which key a reviewer chose for it. No DOM.

/**
 * @typedef {object} Shortcut
 * @property {string} name Tabs register what they do under it: the default key, or `undo`.
 * @property {string} [key] The default key, where it is not the name.
 * @property {string} meaning
 * @property {boolean} [inForm] Whether it also works while a decision form is open.
 */
/** @typedef {Record<string, string>} Keymap From names of shortcuts to the keys that were chosen. */

/** The shortcuts whose keys can be changed, as listed on the page. @type {Shortcut[]} */
export const SHORTCUTS = [
  { name: 'a', meaning: 'Agree with the model' },
  { name: 'x', meaning: 'Disagree' },
  { name: '1', meaning: 'Label the image normal', inForm: true },
  { name: '2', meaning: 'Label the image NSFW', inForm: true },
  { name: '3', meaning: 'Unsure', inForm: true },
  { name: ' ', meaning: 'Skip to the next image' },
  { name: 'undo', key: 'Backspace', meaning: 'Undo the last decision, skip or escalation' },
  { name: 'f', meaning: 'Request a second opinion' },
  { name: 'n', meaning: 'Add reasons or a note', inForm: true },
  { name: 'v', meaning: 'Reveal the image, as set in Viewing', inForm: true },
  { name: 'b', meaning: 'Blur on or off for all images', inForm: true },
  { name: 'h', meaning: 'Heat map: what the score depends on' },
  { name: 'p', meaning: 'Show the policy text, if there is one', inForm: true },
]

/** Keys that keep their meaning. @type {[string, string][]} */
export const FIXED = [
  ['Ctrl+Z', 'Undo, as Backspace'],
  ['Arrows', 'Move without deciding'],
  ['Enter', 'Enlarge the image. In a form: save'],
  ['Shift+Arrows', 'Gallery, Relabel: select a range, which the keys then decide together'],
  ['Esc', 'Close the form, cancel the heat map; Gallery, Relabel: clear the selection'],
  ['?', 'Show or hide these keys'],
]

/** Keys of the reasons while a decision form is open. @type {Record<string, string>} */
export const REASON_KEYS = {
  nudity: 'u',
  sexual_act: 's',
  suggestive: 'g',
  violence_or_gore: 'r',
  medical: 'm',
  art: 't',
  drawing_or_ai_generated: 'd',
  partial_exposure: 'e',
  minor_present: 'i',
  other: 'o',
}

/** Keys of the categories while a decision form is open. @type {Record<string, string>} */
export const CATEGORY_KEYS = {
  sexual_explicit: '4',
  sexual_suggestive: '5',
  nudity: '6',
  drawing: '7',
  gore_or_violence: '8',
  self_harm: '9',
  other: '0',
}

/** @type {Keymap} */
export const DEFAULT_KEYMAP = Object.fromEntries(
  SHORTCUTS.map(({ name, key = name }) => [name, key]),
)

const RESERVED = new Set(['?', '+', '-', 'Enter', 'Escape', 'Tab'])
const LETTER = /^\p{L}$/u
const LATIN = /^\p{Script=Latin}$/u
const LETTERS = 'abcdefghijklmnopqrstuvwxyz'

/**
 * The key that was pressed, in lower case: what is printed on it, or, where the layout has no Latin
 * letters, what is printed there on a Latin layout.
 *
 * @param {{ key: string, code: string }} event
 */
export function keyOf({ key, code }) {
  const printed = key.toLowerCase()
  const foreign = key === 'Dead' || (LETTER.test(key) && !LATIN.test(key))
  const letter = foreign ? /^Key([A-Z])$/.exec(code)?.[1] : null
  if (letter) return letter.toLowerCase()
  return key.length === 1 ? printed : key
}

/**
 * The shortcut that a key triggers; keys without one are their own name.
 *
 * @param {Keymap} keymap
 * @param {string} key
 * @returns {string | null} Null where the key's own shortcut was moved to another key.
 */
export function shortcutOf(keymap, key) {
  const found = SHORTCUTS.find(({ name }) => keymap[name] === key)
  if (found) return found.name
  return Object.values(DEFAULT_KEYMAP).includes(key) ? null : key
}

/**
 * Why a shortcut cannot have a key, as a sentence; null where it can.
 *
 * @param {Keymap} keymap
 * @param {string} name
 * @param {string} key
 */
export function conflictOf(keymap, name, key) {
  const isOne = [...key].length === 1 || key === 'Backspace' || key === 'Delete'
  if (!isOne || RESERVED.has(key)) return `${wordOf(key)} keeps its own meaning.`
  const other = SHORTCUTS.find(
    (shortcut) => shortcut.name !== name && keymap[shortcut.name] === key,
  )
  if (other) return `${wordOf(key)} is taken: ${other.meaning}.`
  const inForm = SHORTCUTS.find((shortcut) => shortcut.name === name)?.inForm
  if (inForm && Object.values(REASON_KEYS).includes(key))
    return `${wordOf(key)} chooses a reason while the form is open.`
  if (inForm && Object.values(CATEGORY_KEYS).includes(key))
    return `${wordOf(key)} chooses a category while the form is open.`
  return null
}

/**
 * Stored values are not trusted: a keymap with a conflict becomes the default. A shortcut that is newer
 * than what was stored gets a free key where its own is taken.
 *
 * @param {Record<string, unknown> | null} stored
 * @returns {Keymap}
 */
export function validKeymap(stored) {
  const keymap = { ...DEFAULT_KEYMAP }
  for (const { name } of SHORTCUTS) {
    const key = stored?.[name]
    if (typeof key === 'string') keymap[name] = key
  }
  for (const { name } of SHORTCUTS) {
    if (stored && !(name in stored)) keymap[name] = freeKey(keymap, name)
  }
  const valid = SHORTCUTS.every(({ name }) => conflictOf(keymap, name, keymap[name]) === null)
  return valid ? keymap : { ...DEFAULT_KEYMAP }
}

/**
 * The key of a shortcut, or a letter that has no meaning where that key is taken.
 *
 * @param {Keymap} keymap
 * @param {string} name
 */
function freeKey(keymap, name) {
  const keys = [keymap[name], ...LETTERS]
  return keys.find((key) => conflictOf(keymap, name, key) === null) ?? keymap[name]
}

/**
 * How a key is written on the page.
 *
 * @param {string} key
 */
export function wordOf(key) {
  if (key === ' ') return 'Space'
  return key.length === 1 ? key.toUpperCase() : key
}
