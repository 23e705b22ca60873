// The decision form in a dialog, for a card that has no room for it, or for a whole selection.

/** @import { FormValues } from '../shared/decisionForm.js' */
/** @import { Label } from '../shared/policy.js' */
/** @import { Card } from './card.js' */

import { makeDecisionForm } from '../shared/decisionForm.js'
import { make } from '../shared/dom.js'
import { stalledMessage } from '../shared/unsavedList.js'

/**
 * Opens the dialog: for one card filled with the decision in force, else with `label`.
 *
 * @param {Card[]} cards
 * @param {object} options
 * @param {string[]} options.reasons
 * @param {Label | null} options.label Null: the reviewer chooses one.
 * @param {(values: FormValues) => void} options.onSave
 * @param {() => void} options.onClose
 */
export function openDecisionDialog(cards, { reasons, label, onSave, onClose }) {
  const [{ image }] = cards
  const title = cards.length === 1 ? image.name : `${cards.length} images`
  const dialog = make('dialog', {
    class: 'decision-dialog',
    'aria-label': `Decision about ${title}`,
  })
  const decision = cards.length === 1 ? image.decision : null
  const initial = decision
    ? {
        label: decision.reviewer_label,
        reasons: decision.reasons,
        note: decision.note,
        categories: decision.categories,
      }
    : { label }
  const { form, focusNote } = makeDecisionForm(reasons, initial, {
    onCancel: () => dialog.close(),
    refuse: stalledMessage,
    onSave: (values) => {
      dialog.close()
      onSave(values)
    },
  })
  dialog.append(make('h2', { dir: 'auto' }, title), form)
  dialog.addEventListener('close', () => {
    dialog.remove()
    onClose()
  })
  document.body.append(dialog)
  dialog.showModal()
  focusNote()
}
