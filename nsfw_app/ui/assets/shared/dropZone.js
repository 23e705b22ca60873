// A place to drop, choose or paste files. What arrives is handed on as File objects, unread.

import { inField, make, shown } from './dom.js'
import { onStatus } from './server.js'

/** Fills an element with a drop zone. `onFiles` gets an array of files. */
export function dropZone(root, { label, hint, multiple, onFiles }) {
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

  const give = (files) => {
    const list = [...files]
    if (list.length && !input.disabled) onFiles(list)
  }
  input.addEventListener('change', () => {
    give(input.files)
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
    give(event.dataTransfer.files)
  })
  document.addEventListener('paste', (event) => {
    if (!inField(event) && shown(root)) give(event.clipboardData.files)
  })
  onStatus((status) => {
    input.disabled = status.state !== 'ready'
    zone.classList.toggle('waiting', status.state !== 'ready')
    title.textContent = status.state === 'loading' ? 'The model is loading' : label
    if (status.state === 'failed') title.textContent = 'No model is running'
  })
  return zone
}
