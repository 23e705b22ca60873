// The moderation policy in words. The server sends it as a tree; the nodes of it are made here.

import { make } from './dom.js'
import { onStatus } from './server.js'

const address = new URL('../../policy-text', import.meta.url)
const TAGS = new Set(
  'p h3 h4 h5 h6 ul ol li strong em s code pre blockquote hr br a table thead tbody tr th td'.split(
    ' ',
  ),
)
const LINKS = new Set(['http:', 'https:', 'mailto:'])

let available = false
let fetched = false

const text = make('div', {
  class: 'policy-text',
  tabindex: '0',
  autofocus: true,
  role: 'region',
  'aria-label': 'Text of the policy',
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

/** Whether there is a text, and whether it is on the screen. */
export const policyText = {
  get available() {
    return available
  },
  get open() {
    return dialog.open
  },
}

function isLink(href) {
  return typeof href === 'string' && URL.canParse(href) && LINKS.has(new URL(href).protocol)
}

function nodeOf(part) {
  if (typeof part === 'string') return part
  const children = part.children.map(nodeOf)
  if (!TAGS.has(part.tag)) return make('span', {}, ...children)
  if (part.tag !== 'a') return make(part.tag, { start: part.start }, ...children)
  if (!isLink(part.href)) return make('span', {}, ...children)
  return make('a', { href: part.href, target: '_blank', rel: 'noopener noreferrer' }, ...children)
}

async function load() {
  if (fetched) return
  text.replaceChildren(make('p', { class: 'muted' }, 'The text is on its way.'))
  try {
    const response = await fetch(address)
    if (!response.ok) throw new Error(`The server answered with status ${response.status}.`)
    const { parts } = await response.json()
    text.replaceChildren(...parts.map(nodeOf))
    fetched = true
  } catch (error) {
    text.replaceChildren(make('p', {}, `The text could not be fetched. ${error.message}`))
  }
}

/** Shows or hides the text. */
export function togglePolicyText() {
  if (!dialog.isConnected) document.body.append(dialog)
  if (dialog.open) {
    dialog.close()
    return
  }
  dialog.showModal()
  load()
}

onStatus((status) => {
  available = status.policy_text
})
