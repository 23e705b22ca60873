// The files that were not added, each with the reason, until the reviewer dismisses the list.

/** @import { LeftOut } from '../shared/droppedFiles.js' */

import { make } from '../shared/dom.js'

/** Creates the list, which is hidden while it is empty. */
export function makeLeftOutList() {
  let count = 0
  const summary = make('summary')
  const list = make('ul', { tabindex: '0', 'aria-label': 'Files that were left out' })
  const details = make('details', {}, summary, list)
  const dismiss = make('button', { type: 'button', class: 'quiet', onclick: clear }, 'Dismiss')
  const element = make('div', { class: 'left-out-files', hidden: true }, details, dismiss)

  function clear() {
    count = 0
    list.replaceChildren()
    details.open = false
    element.hidden = true
  }

  /** @param {LeftOut[]} files */
  function add(files) {
    if (!files.length) return
    count += files.length
    list.append(...files.map(({ name, why }) => make('li', { dir: 'auto' }, `${name}: ${why}`)))
    summary.textContent = count === 1 ? '1 file was left out' : `${count} files were left out`
    element.hidden = false
  }

  return { element, add }
}
