// A question before many decisions are recorded, or what hides an image is lifted. Enter confirms, Escape cancels; Space presses
// neither button. A field in it must be valid to confirm.

import { make } from './dom.js'

/**
 * Opens the question. `onClose` is called when it has gone, confirmed or not.
 *
 * @param {object} options
 * @param {string} options.title
 * @param {string} options.text
 * @param {string} options.confirm The word on the button.
 * @param {Node[]} [options.content] Between text and buttons.
 * @param {() => void} options.onConfirm
 * @param {() => void} options.onClose
 */
export function askFirst({ title, text, confirm, content = [], onConfirm, onClose }) {
  const answer = make(
    'button',
    { type: 'button', class: 'primary', onclick: accept },
    confirm,
    make('kbd', {}, 'Enter'),
  )
  const cancel = make(
    'button',
    { type: 'button', class: 'quiet', onclick: () => dialog.close() },
    'Cancel',
    make('kbd', {}, 'Esc'),
  )
  const heading = make('h2', { id: 'confirmation-title', tabindex: '-1' }, title)
  const dialog = make(
    'dialog',
    { class: 'confirmation', 'aria-labelledby': heading.id },
    heading,
    make('p', {}, text),
    ...content,
    make('div', { class: 'buttons' }, answer, cancel),
  )

  function accept() {
    for (const field of dialog.querySelectorAll('input')) if (!field.reportValidity()) return
    dialog.close()
    onConfirm()
  }

  dialog.addEventListener('keydown', (event) => {
    const { target } = event
    if (event.key === ' ' && (target === answer || target === cancel)) event.preventDefault()
    const onControl = target instanceof HTMLButtonElement
    if (event.key !== 'Enter' || event.repeat || onControl) return
    event.preventDefault()
    event.stopPropagation() // the dialog is closed when the page's shortcuts would see this key
    accept()
  })
  dialog.addEventListener('close', () => {
    dialog.remove()
    onClose()
  })
  document.body.append(dialog)
  dialog.showModal()
  heading.focus()
  return dialog
}
