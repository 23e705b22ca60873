// The form for a decision: label, categories, reasons, note. Each label, category and reason has a key.

/** @import { Category, Label } from './policy.js' */

import { CATEGORY_WORDS } from './categories.js'
import { make } from './dom.js'
import { confirmEscalation } from './escalationDialog.js'
import { CATEGORY_KEYS, REASON_KEYS } from './keymap.js'
import { keyWord, useForm } from './keys.js'

/** With the names of their shortcuts. @type {[Label, string, string][]} */
export const LABEL_WORDS = [
  ['normal', 'Normal', '1'],
  ['nsfw', 'NSFW', '2'],
  ['unsure', 'Unsure', '3'],
]
/** @type {Record<string, string>} */
const REASON_WORDS = {
  nudity: 'Nudity',
  sexual_act: 'Sexual act',
  suggestive: 'Suggestive',
  violence_or_gore: 'Violence or gore',
  medical: 'Medical',
  art: 'Art',
  drawing_or_ai_generated: 'Drawing or AI-generated',
  partial_exposure: 'Partial exposure',
  minor_present: 'Minor present',
  other: 'Other',
}
const ESCALATED = 'minor_present'
const MAX_NOTE_CHARACTERS = 4000

/**
 * @typedef {object} FormValues
 * @property {Label} label
 * @property {string[]} reasons
 * @property {string} note
 * @property {Category[]} [categories] Absent where the form did not ask for them.
 */

let serial = 0

/** @param {string} word */
const hintOf = (word) => make('kbd', { 'aria-hidden': 'true' }, word)

/**
 * The words for a reason code.
 *
 * @param {string} code
 */
export const reasonWord = (code) => REASON_WORDS[code] ?? code

/**
 * Creates a form, which takes the keys while it is visible.
 *
 * @param {string[]} reasonCodes
 * @param {object} initial
 * @param {Label | null} initial.label Null: none is chosen yet.
 * @param {string[]} [initial.reasons]
 * @param {string} [initial.note]
 * @param {Category[] | null} [initial.categories]
 * @param {string} [initial.problem] What is wanted, shown at once.
 * @param {object} handlers
 * @param {(values: FormValues) => void} handlers.onSave
 * @param {() => void} handlers.onCancel
 * @param {(values: FormValues) => string | null} [handlers.refuse] Why it cannot be saved.
 */
export function makeDecisionForm(reasonCodes, initial, { onSave, onCancel, refuse = () => null }) {
  const group = `decision-${++serial}`
  const labels = LABEL_WORDS.map(([value, word, key]) => {
    const checked = value === initial.label
    const input = make('input', { type: 'radio', name: group, value, checked })
    return { value, word, key, hint: hintOf(keyWord(key)), input }
  })
  const reasons = reasonCodes.map((value) => {
    const checked = Boolean(initial.reasons?.includes(value))
    const input = make('input', { type: 'checkbox', value, checked })
    const key = REASON_KEYS[value]
    const hint = key ? hintOf(key.toUpperCase()) : null
    return { word: reasonWord(value), key, hint, input }
  })
  const categories = CATEGORY_WORDS.map(([value, word]) => {
    const checked = Boolean(initial.categories?.includes(value))
    const input = make('input', { type: 'checkbox', value, checked })
    const key = CATEGORY_KEYS[value]
    return { value, word, key, hint: hintOf(key), input }
  })
  /** @param {{ word: string, hint: HTMLElement | null, input: HTMLInputElement }} choice */
  const choice = ({ word, hint, input }) =>
    make('label', { class: 'choice' }, input, make('span', {}, word), hint)
  /** @param {string} legend @param {{ word: string, hint: HTMLElement | null, input: HTMLInputElement }[]} choices */
  const fieldset = (legend, choices) =>
    make(
      'fieldset',
      {},
      make('legend', {}, legend),
      make('div', { class: 'choices' }, ...choices.map(choice)),
    )
  const note = make('textarea', { rows: 2, maxlength: MAX_NOTE_CHARACTERS })
  note.value = initial.note ?? ''
  const save = make(
    'button',
    { type: 'submit', class: 'primary' },
    'Save decision',
    make('kbd', {}, 'Enter'),
  )
  const cancel = make(
    'button',
    { type: 'button', class: 'quiet', onclick: onCancel },
    'Cancel',
    make('kbd', {}, 'Esc'),
  )
  const problem = make('p', { class: 'problem', role: 'alert' }, initial.problem)
  const categorySet = fieldset('Categories, if any', categories)
  const form = make(
    'form',
    { class: 'decision-form', tabindex: '-1', 'aria-label': 'Decision' },
    fieldset('Correct label', labels),
    categorySet,
    fieldset('Reasons', reasons),
    make('label', { class: 'note' }, make('span', {}, 'Note', hintOf(keyWord('n'))), note),
    problem,
    make('div', { class: 'buttons' }, save, cancel),
  )

  const [correctLabel] = form.children
  const chosenLabel = () => labels.find(({ input }) => input.checked)?.value

  /** Images that are unsafe, or may be, have categories. */
  function drawLabel() {
    const label = chosenLabel()
    categorySet.hidden = !label || label === 'normal'
  }

  /** Scrolls only where the labels are not on the screen, so that the image stays in place. */
  function focus() {
    form.focus({ preventScroll: true })
    const { top, bottom } = correctLabel.getBoundingClientRect()
    if (top < 0 || bottom > innerHeight) form.scrollIntoView({ block: 'center' })
  }

  async function submit() {
    const label = chosenLabel()
    if (!label) {
      problem.textContent = 'Choose a label.'
      return
    }
    const chosen = reasons.filter(({ input }) => input.checked).map(({ input }) => input.value)
    /** @type {FormValues} */
    const values = { label, reasons: chosen, note: note.value }
    if (!categorySet.hidden)
      values.categories = categories.filter(({ input }) => input.checked).map(({ value }) => value)
    problem.textContent = refuse(values) ?? ''
    if (problem.textContent) return
    const isNew = chosen.includes(ESCALATED) && !initial.reasons?.includes(ESCALATED)
    if (isNew && !(await confirmEscalation())) {
      focus()
      return
    }
    onSave(values)
  }

  /** @param {string} name @param {string} key */
  function press(name, key) {
    const label = labels.find((option) => option.key === name)
    const reason = reasons.find((option) => option.key === key)
    const category = categorySet.hidden ? null : categories.find((option) => option.key === key)
    if (label) {
      label.input.checked = true
      drawLabel()
    } else if (category) category.input.checked = !category.input.checked
    else if (reason) reason.input.checked = !reason.input.checked
    else if (name === 'n') note.focus()
    else if (name === 'Enter') form.requestSubmit()
    else if (name === 'Escape') onCancel()
    else return false
    return true
  }

  form.addEventListener('submit', (event) => {
    event.preventDefault()
    submit()
  })
  form.addEventListener('change', drawLabel)
  drawLabel()
  note.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) form.requestSubmit()
  })
  useForm({ element: form, press })
  return { form, focus, focusNote: () => note.focus() }
}
