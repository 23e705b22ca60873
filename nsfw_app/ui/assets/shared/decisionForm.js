// Asking for the right label, the reasons and a note.

import { make } from './dom.js'

const LABELS = [
  ['normal', 'Normal'],
  ['nsfw', 'NSFW'],
  ['unsure', 'Unsure'],
]
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

let serial = 0

/** What a reason code is called. */
export const reasonWord = (code) => REASON_WORDS[code] ?? code

/** The label that the model did not say. */
export const opposite = (label) => (label === 'nsfw' ? 'normal' : 'nsfw')

/**
 * A form for an answer. `given` holds the label, reasons and note to begin with; `onSave` gets
 * the same three as they were filled in.
 */
export function answerForm(reasonCodes, given, { onSave, onCancel }) {
  const group = `answer-${++serial}`
  const option = ([value, word]) =>
    make(
      'label',
      { class: 'choice' },
      make('input', { type: 'radio', name: group, value, checked: value === given.label }),
      make('span', {}, word),
    )
  const reason = (value) =>
    make(
      'label',
      { class: 'choice' },
      make('input', { type: 'checkbox', value, checked: given.reasons?.includes(value) }),
      make('span', {}, reasonWord(value)),
    )
  const note = make('textarea', { rows: 2, maxlength: MAX_NOTE_CHARACTERS })
  note.value = given.note ?? ''
  const save = make(
    'button',
    { type: 'submit', class: 'primary' },
    'Save answer',
    make('kbd', {}, 'Enter'),
  )
  const form = make(
    'form',
    { class: 'answer-form' },
    make(
      'fieldset',
      {},
      make('legend', {}, 'The right label'),
      make('div', { class: 'choices' }, ...LABELS.map(option)),
    ),
    make(
      'fieldset',
      {},
      make('legend', {}, 'Reasons'),
      make('div', { class: 'choices' }, ...reasonCodes.map(reason)),
    ),
    make('label', { class: 'note' }, make('span', {}, 'Note'), note),
    make(
      'div',
      { class: 'buttons' },
      save,
      make(
        'button',
        { type: 'button', class: 'quiet', onclick: onCancel },
        'Cancel',
        make('kbd', {}, 'Esc'),
      ),
    ),
  )
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    onSave({
      label: form.querySelector('input[type=radio]:checked')?.value ?? given.label,
      reasons: [...form.querySelectorAll('input[type=checkbox]:checked')].map((box) => box.value),
      note: note.value,
    })
  })
  form.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') onCancel()
    const inNote = event.target === note && !event.ctrlKey && !event.metaKey
    if (event.key === 'Enter' && event.target.localName !== 'button' && !inNote) {
      event.preventDefault()
      form.requestSubmit()
    }
  })
  return { form, focus: () => save.focus(), focusNote: () => note.focus() }
}
