// The form of an answer in a window of its own, for a card that has no room for it.

import { answerForm } from '../shared/decisionForm.js'
import { make } from '../shared/dom.js'

/** Asks about a card's image; begins with the answer that stands, else with `label`. */
export function answerDialog({ image }, { reasons, label, onSave, onClose }) {
  const dialog = make('dialog', {
    class: 'answer-dialog',
    'aria-label': `Answer about ${image.name}`,
  })
  const given = image.decision ?? { reviewer_label: label }
  const { form, focusNote } = answerForm(
    reasons,
    { label: given.reviewer_label, reasons: given.reasons, note: given.note },
    {
      onCancel: () => dialog.close(),
      onSave: (filled) => {
        dialog.close()
        onSave(filled)
      },
    },
  )
  dialog.append(make('h2', {}, image.name), form)
  dialog.addEventListener('close', () => {
    dialog.remove()
    onClose()
  })
  document.body.append(dialog)
  dialog.showModal()
  focusNote()
}
