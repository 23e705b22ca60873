// Asks for confirmation before an image is recorded as showing a minor, with the text of the duty.

import { make } from './dom.js'
import { status } from './server.js'

const CONSEQUENCE =
  'The image is hidden from everyone but administrators. Its preview is neither purged nor exported.'

/**
 * Opens the dialog; resolves to whether the reviewer confirmed.
 *
 * @returns {Promise<boolean>}
 */
export function confirmEscalation() {
  const duty = status.value?.escalation_text
  const dialog = make(
    'dialog',
    { class: 'decision-dialog', 'aria-labelledby': 'escalation-title' },
    make('h2', { id: 'escalation-title', tabindex: '-1', autofocus: true }, 'Minor present'),
    make('p', {}, CONSEQUENCE),
    duty ? make('p', { class: 'duty' }, duty) : null,
    make(
      'form',
      { method: 'dialog', class: 'buttons' },
      make('button', { value: 'confirm', class: 'primary', 'data-records': true }, 'Record it'),
      make('button', { value: '', class: 'quiet' }, 'Back'),
    ),
  )
  document.body.append(dialog)
  dialog.showModal()
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => {
      dialog.remove()
      resolve(dialog.returnValue === 'confirm')
    })
  })
}
