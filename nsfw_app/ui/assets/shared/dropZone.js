// Targets for files that are dropped, chosen or pasted. The whole document takes drops: a file that
// is dropped anywhere never opens in the browser, where it would be shown unblurred.

/** @import { LeftOut } from './droppedFiles.js' */
/** @import { Status } from './server.js' */

import { closest, inField, isVisible, make, openTab } from './dom.js'
import { droppedFiles } from './droppedFiles.js'
import { notify } from './notices.js'
import { may } from './permissions.js'
import { status } from './server.js'

/**
 * @typedef {object} Zone
 * @property {HTMLElement} root
 * @property {HTMLElement} element
 * @property {boolean} multiple
 * @property {(files: File[], leftOut: LeftOut[]) => void} onFiles
 */

/** @type {Zone[]} */
const zones = []

/**
 * Given before there was a zone for them: Gradio renders a tab when it is opened first.
 *
 * @type {[File[], LeftOut[]][]}
 */
let early = []

/** @type {Record<Status['state'], string>} */
const OBSTACLES = {
  ready: '',
  loading: 'The model is loading',
  failed: 'No model is running',
}

/**
 * Fills an element with a drop zone; its input is disabled until the model is ready.
 *
 * @param {HTMLElement} root
 * @param {object} options
 * @param {string} options.label
 * @param {string} options.hint
 * @param {string} [options.short] The label while the zone is a button.
 * @param {boolean} options.multiple Whether it takes what is dropped on a tab without a zone.
 * @param {(files: File[], leftOut: LeftOut[]) => void} options.onFiles Called with the files of a
 *   dropped folder, too, and with those of it that are no images.
 */
export function fillDropZone(root, { label, hint, short, multiple, onFiles }) {
  const input = make('input', {
    type: 'file',
    class: 'visually-hidden',
    multiple,
    disabled: true,
    accept: 'image/*,.heic,.heif,.avif',
  })
  const title = make('span', { class: 'drop-title' }, label)
  const element = make(
    'label',
    { class: 'drop-zone' },
    input,
    title,
    short && make('span', { class: 'drop-short' }, short),
    make('span', { class: 'drop-hint' }, hint),
  )
  root.replaceChildren(element)
  zones.push({ root, element, multiple, onFiles })
  setTimeout(giveEarly) // once the tab is complete
  input.addEventListener('change', () => {
    const files = [...(input.files ?? [])]
    if (files.length) onFiles(files, [])
    input.value = '' // so that the same file can be chosen again
  })
  status.subscribe(({ state }) => {
    input.disabled = state !== 'ready'
    element.classList.toggle('waiting', state !== 'ready')
    title.textContent = OBSTACLES[state] || label
  })
}

/** The zone of the open tab, or else the one that takes many files. */
const targetZone = () =>
  zones.find(({ root }) => isVisible(root)) ?? zones.find(({ multiple }) => multiple)

/**
 * Gives files to the zone of the open tab or else to the Gallery, or says why not.
 *
 * @param {File[]} files
 * @param {LeftOut[]} leftOut
 */
function give(files, leftOut) {
  const count = files.length + leftOut.length
  if (!count) return
  const what = count === 1 ? [...files, ...leftOut][0].name : `${count} files`
  const zone = targetZone()
  const obstacle = obstacleNow()
  if (obstacle) {
    notify('drop', `${obstacle} ${what} ${count === 1 ? 'was' : 'were'} not added.`)
    return
  }
  if (zone && status.value) zone.onFiles(files, leftOut)
  else early.push([files, leftOut])
  if (zone && isVisible(zone.root)) return
  notify('drop', `${what} ${count === 1 ? 'was' : 'were'} added to the Gallery.`, {
    word: 'Open the Gallery',
    onclick: () => openTab('gallery'),
  })
}

function giveEarly() {
  const waiting = early
  early = []
  for (const [files, leftOut] of waiting) give(files, leftOut)
}

/** Why no files can be added, as a sentence; empty if they can. */
function obstacleNow() {
  const now = status.value
  if (!now) return ''
  if (!may('classify')) return 'Your role cannot add images.'
  return OBSTACLES[now.state] && `${OBSTACLES[now.state]}.`
}

/**
 * Whether the browser may handle a drag itself: text that is dragged into a field.
 *
 * @param {DragEvent} event
 */
function isOfField(event) {
  const hasFiles = event.dataTransfer?.types.includes('Files')
  return !hasFiles && closest(event, 'input, textarea, [contenteditable]') !== null
}

/** @param {boolean} over */
function highlight(over) {
  const target = over ? targetZone() : undefined
  for (const zone of zones) zone.element.classList.toggle('over', zone === target)
}

/** @param {DragEvent} event */
function onDragOver(event) {
  if (isOfField(event)) return
  event.preventDefault()
  if (event.dataTransfer?.types.includes('Files')) highlight(true)
}

/** @param {DragEvent} event */
async function onDrop(event) {
  if (isOfField(event)) return
  event.preventDefault()
  event.stopPropagation() // Gradio's components take no files here
  highlight(false)
  const { files, leftOut } = await droppedFiles(event.dataTransfer)
  give(files, leftOut)
}

/** @param {ClipboardEvent} event */
function onPaste(event) {
  if (!inField(event)) give([...(event.clipboardData?.files ?? [])], [])
}

status.subscribe((_now, previous) => previous ?? giveEarly())

// Before all other listeners, so that none can leave a drop to the browser.
window.addEventListener('dragover', onDragOver, { capture: true })
window.addEventListener('drop', onDrop, { capture: true })
window.addEventListener('dragleave', (event) => event.relatedTarget ?? highlight(false))
document.addEventListener('paste', onPaste)
