// The dialog with the moderation policy's text. Gradio's Markdown component renders and sanitizes
// the text; this module moves the component into a dialog and opens it.

import { closest, make } from './dom.js'
import { status } from './server.js'

const EXTERNAL = new Set(['http:', 'https:', 'mailto:'])

/** @type {() => void} */
let load = () => {}
let requested = false

const text = make('div', {
  class: 'policy-text',
  tabindex: '0',
  autofocus: true,
  role: 'region',
  'aria-label': 'Policy text',
})
const dialog = make(
  'dialog',
  { class: 'policy', 'aria-labelledby': 'policy-title' },
  make('h2', { id: 'policy-title' }, 'Policy'),
  text,
  make(
    'form',
    { method: 'dialog', class: 'buttons' },
    make('button', { class: 'quiet' }, 'Close', make('kbd', {}, 'P')),
  ),
)

// Gradio opens links in a new tab. Links to this server do nothing.
dialog.addEventListener('click', (event) => {
  const link = closest(event, 'a')
  if (!(link instanceof HTMLAnchorElement)) return
  if (!EXTERNAL.has(link.protocol) || link.origin === location.origin) event.preventDefault()
})

/**
 * Moves Gradio's Markdown component into the dialog. `onFirstOpen` loads its value.
 *
 * @param {() => void} onFirstOpen
 */
export async function connectPolicyText(onFirstOpen) {
  load = onFirstOpen
  text.replaceChildren(await componentOf('policy-markdown'))
  document.body.append(dialog)
}

/**
 * @param {string} id
 * @returns {Promise<HTMLElement>}
 */
function componentOf(id) {
  return new Promise((resolve) => {
    const check = () => {
      const node = document.getElementById(id)
      if (node) resolve(node)
      else requestAnimationFrame(check)
    }
    check()
  })
}

export const policyDialog = {
  /** Whether there is a policy text. */
  get available() {
    return Boolean(status.value?.policy_text)
  },
  get open() {
    return dialog.open
  },
  toggle() {
    if (dialog.open) {
      dialog.close()
      return
    }
    dialog.showModal()
    if (!requested) load()
    requested = true
  },
}
