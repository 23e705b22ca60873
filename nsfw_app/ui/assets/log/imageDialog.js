// The dialog of one row of the log: its image, blurred, and the form that corrects the decision.

/** @import { Row } from './table.js' */

import { categoryWords } from '../shared/categories.js'
import { askFirst } from '../shared/confirmation.js'
import { makeDecisionForm } from '../shared/decisionForm.js'
import { make } from '../shared/dom.js'
import { exposureOf } from '../shared/exposure.js'
import { Preview } from '../shared/preview.js'
import { decide, liftRestriction, messageOf, status } from '../shared/server.js'
import { stalledMessage } from '../shared/unsavedList.js'

/**
 * Opens the dialog.
 *
 * @param {Row} row
 * @param {object} handlers
 * @param {() => void} handlers.onChanged A new decision is on disk, or a restriction is lifted.
 * @param {(hash: string) => void} handlers.onShowAll The other decisions about the image are wanted.
 */
export function openImageDialog(row, { onChanged, onShowAll }) {
  const dialog = make('dialog', {
    class: 'decision-dialog log-image',
    'aria-labelledby': 'log-image-name',
  })
  const preview = new Preview(row, 'picture')
  const message = make('p', { role: 'status' })
  const all = make(
    'button',
    {
      type: 'button',
      class: 'quiet',
      onclick() {
        dialog.close()
        onShowAll(row.sha256)
      },
    },
    'All decisions about this image',
  )
  const close = make(
    'button',
    { type: 'button', class: 'quiet', onclick: () => dialog.close() },
    'Close',
  )
  dialog.append(
    make('h2', { id: 'log-image-name', dir: 'auto', tabindex: '-1', autofocus: true }, row.name),
    preview.element,
    make('div', { class: 'buttons' }, row.kept ? preview.makeButton() : null, all, close),
    make('p', { class: 'hash' }, `SHA-256 ${row.sha256}`),
    make(
      'p',
      {},
      `Score ${row.nsfw_score.toFixed(3)}, ${row.model_label} at threshold ` +
        `${row.threshold.toFixed(2)}. ${row.reviewer}: ${row.reviewer_label}` +
        `${row.categories?.length ? `, ${categoryWords(row.categories)}` : ''}.`,
    ),
    restriction() ?? '',
    correction() ?? '',
    message,
  )

  /** What restricts the image, and the button that lifts it; for administrators. */
  function restriction() {
    if (!row.restricted) return null
    return make(
      'div',
      { class: 'restriction' },
      make('p', {}, 'Restricted, because a minor may be present: only administrators see it.'),
      make('button', { type: 'button', onclick: askToLift }, 'Lift the restriction'),
    )
  }

  function askToLift() {
    askFirst({
      title: 'Lift the restriction?',
      text:
        'Everyone who could see this image before sees it again. Its preview can be deleted and ' +
        'its training label exported. The audit records that you lifted it.',
      confirm: 'Lift the restriction',
      onConfirm: lift,
      onClose: () => dialog.querySelector('h2')?.focus(),
    })
  }

  async function lift() {
    message.textContent = 'Saving...'
    try {
      await liftRestriction(row.sha256)
      dialog.close()
      onChanged()
    } catch (error) {
      message.textContent = messageOf(error)
    }
  }

  /** The form, where the decision is the caller's own and stands. */
  function correction() {
    if (!row.own || row.undone) return null
    if (!row.kept) {
      return make('p', { class: 'muted' }, 'It cannot be corrected: its preview was deleted.')
    }
    const { reviewer_label: label, reasons, note, categories } = row
    const initial = { label, reasons, note, categories }
    const { form } = makeDecisionForm(status.value?.reasons ?? [], initial, {
      onCancel: () => dialog.close(),
      refuse: stalledMessage,
      async onSave(values) {
        message.textContent = 'Saving...'
        try {
          const { threshold } = row
          await decide(row, { ...values, threshold, ...exposureOf(row) })
          dialog.close()
          onChanged()
        } catch (error) {
          message.textContent = messageOf(error)
        }
      },
    })
    return make('section', { 'aria-label': 'Correct this decision' }, form)
  }

  dialog.addEventListener('close', () => {
    preview.hide()
    dialog.remove()
  })
  document.body.append(dialog)
  dialog.showModal()
}
