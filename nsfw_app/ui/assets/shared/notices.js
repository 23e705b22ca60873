// Notices at the edge of the page. They block nothing and take neither focus nor keys.

import { make } from './dom.js'

const region = make('div', { class: 'notices', role: 'status' })
/** @type {Map<string, HTMLElement>} */
const shown = new Map()

/** Adds the region to the page, empty: screen readers ignore a late live region. */
export function startNotices() {
  document.body.append(region)
}

/**
 * Shows a notice until it is dismissed, in place of an earlier one about the same subject.
 *
 * @param {string} subject
 * @param {string} text
 * @param {{ word: string, onclick: () => void }} [action]
 */
export function notify(subject, text, action) {
  const dismiss = () => {
    notice.remove()
    if (shown.get(subject) === notice) shown.delete(subject)
  }
  /** @param {string} word @param {() => void} onclick */
  const button = (word, onclick) => {
    const node = make('button', { type: 'button', class: 'quiet', onclick }, word)
    node.addEventListener('pointerdown', (event) => event.preventDefault()) // keeps the focus
    return node
  }
  const act = () => {
    dismiss()
    action?.onclick()
  }
  const notice = make(
    'div',
    { class: 'notice', 'data-subject': subject },
    make('p', {}, text),
    action ? button(action.word, act) : null,
    button('Dismiss', dismiss),
  )
  shown.get(subject)?.remove()
  shown.set(subject, notice)
  region.append(notice)
}
