// The decision form in a dialog, for a card that has no room for it.

/** @import { FormValues } from '../shared/decisionForm.js' */
/** @import { Label } from '../shared/policy.js' */
/** @import { Image } from '../shared/server.js' */

import { makeDecisionForm } from '../shared/decisionForm.js'
import { make } from '../shared/dom.js'

/**
 * Opens the dialog, filled with the decision in force, else with `label`.
 *
 * @param {Image} image
 * @param {object} options
 * @param {string[]} options.reasons
 * @param {Label} options.label
 * @param {(values: FormValues) => void} options.onSave
 * @param {() => void} options.onClose
 */
export function openDecisionDialog(image, { reasons, label, onSave, onClose }) {
  const dialog = make('dialog', {
    class: 'decision-dialog',
    'aria-label': `Decision about ${image.name}`,
  })
  const { decision } = image
  const initial = decision
    ? { label: decision.reviewer_label, reasons: decision.reasons, note: decision.note }
    : { label }
  const { form, focusNote } = makeDecisionForm(reasons, initial, {
    onCancel: () => dialog.close(),
    onSave: (values) => {
      dialog.close()
      onSave(values)
    },
  })
  dialog.append(make('h2', {}, image.name), form)
  dialog.addEventListener('close', () => {
    dialog.remove()
    onClose()
  })
  document.body.append(dialog)
  dialog.showModal()
  focusNote()
}
