// The form for a decision: label, reasons, note.

/** @import { Label } from './policy.js' */

import { make } from './dom.js'

/** @type {[Label, string][]} */
const LABEL_WORDS = [
  ['normal', 'Normal'],
  ['nsfw', 'NSFW'],
  ['unsure', 'Unsure'],
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
const MAX_NOTE_CHARACTERS = 4000

/** @typedef {{ label: Label, reasons: string[], note: string }} FormValues */

let serial = 0

/**
 * The words for a reason code.
 *
 * @param {string} code
 */
export const reasonWord = (code) => REASON_WORDS[code] ?? code

/**
 * Creates a form.
 *
 * @param {string[]} reasonCodes
 * @param {{ label: Label, reasons?: string[], note?: string }} initial
 * @param {{ onSave: (values: FormValues) => void, onCancel: () => void }} handlers
 */
export function makeDecisionForm(reasonCodes, initial, { onSave, onCancel }) {
  const group = `decision-${++serial}`
  const labels = LABEL_WORDS.map(([value, word]) => {
    const checked = value === initial.label
    return { word, input: make('input', { type: 'radio', name: group, value, checked }) }
  })
  const reasons = reasonCodes.map((value) => {
    const checked = Boolean(initial.reasons?.includes(value))
    return { word: reasonWord(value), input: make('input', { type: 'checkbox', value, checked }) }
  })
  /** @param {{ word: string, input: HTMLInputElement }} choice */
  const choice = ({ word, input }) =>
    make('label', { class: 'choice' }, input, make('span', {}, word))
  /** @param {string} legend @param {{ word: string, input: HTMLInputElement }[]} choices */
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
  const form = make(
    'form',
    { class: 'decision-form' },
    fieldset('Correct label', labels),
    fieldset('Reasons', reasons),
    make('label', { class: 'note' }, make('span', {}, 'Note'), note),
    make('div', { class: 'buttons' }, save, cancel),
  )
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    const chosen = LABEL_WORDS.find((_, index) => labels[index].input.checked)
    onSave({
      label: chosen?.[0] ?? initial.label,
      reasons: reasons.filter(({ input }) => input.checked).map(({ input }) => input.value),
      note: note.value,
    })
  })
  form.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') onCancel()
    const newline = event.target === note && !event.ctrlKey && !event.metaKey
    const onButton = event.target instanceof HTMLButtonElement
    if (event.key === 'Enter' && !onButton && !newline) {
      event.preventDefault()
      form.requestSubmit()
    }
  })
  return { form, focus: () => save.focus(), focusNote: () => note.focus() }
}
