// Chooses a folder: all images below it, each named with its path.

/** @import { LeftOut } from '../shared/droppedFiles.js' */

import { make } from '../shared/dom.js'
import { chosenFiles } from '../shared/droppedFiles.js'
import { status } from '../shared/server.js'

/**
 * @param {(files: File[], leftOut: LeftOut[]) => void} onFiles
 */
export function makeFolderButton(onFiles) {
  const input = make('input', {
    type: 'file',
    class: 'visually-hidden',
    webkitdirectory: true,
    disabled: true,
  })
  input.addEventListener('change', () => {
    const { files, leftOut } = chosenFiles(input.files ?? [])
    input.value = '' // so that the same folder can be chosen again
    onFiles(files, leftOut)
  })
  status.subscribe(({ state }) => {
    input.disabled = state !== 'ready'
  })
  return make('label', { class: 'button quiet folder' }, input, 'Add folder')
}
