// A target for files that are dropped, chosen or pasted. Files are passed on unread.

import { inField, isVisible, make } from './dom.js'
import { status } from './server.js'

/**
 * Fills an element with a drop zone; it is disabled until the model is ready.
 *
 * @param {HTMLElement} root
 * @param {object} options
 * @param {string} options.label
 * @param {string} options.hint
 * @param {boolean} options.multiple
 * @param {(files: File[]) => void} options.onFiles
 */
export function fillDropZone(root, { label, hint, multiple, onFiles }) {
  const input = make('input', {
    type: 'file',
    class: 'visually-hidden',
    multiple,
    disabled: true,
    accept: 'image/*,.heic,.heif,.avif',
  })
  const title = make('span', { class: 'drop-title' }, label)
  const zone = make(
    'label',
    { class: 'drop-zone' },
    input,
    title,
    make('span', { class: 'drop-hint' }, hint),
  )
  root.replaceChildren(zone)

  /** @param {FileList | null | undefined} files */
  const pass = (files) => {
    const list = [...(files ?? [])]
    if (list.length && !input.disabled) onFiles(list)
  }
  input.addEventListener('change', () => {
    pass(input.files)
    input.value = '' // so that the same file can be chosen again
  })
  zone.addEventListener('dragover', (event) => {
    event.preventDefault()
    zone.classList.add('over')
  })
  zone.addEventListener('dragleave', () => zone.classList.remove('over'))
  zone.addEventListener('drop', (event) => {
    event.preventDefault()
    zone.classList.remove('over')
    pass(event.dataTransfer?.files)
  })
  document.addEventListener('paste', (event) => {
    if (!inField(event) && isVisible(root)) pass(event.clipboardData?.files)
  })
  status.subscribe(({ state }) => {
    input.disabled = state !== 'ready'
    zone.classList.toggle('waiting', state !== 'ready')
    title.textContent = {
      ready: label,
      loading: 'The model is loading',
      failed: 'No model is running',
    }[state]
  })
}
