// One listener for the whole page; the open tab says what its keys do.

import { inField, make, shown } from './dom.js'
import { policyText, togglePolicyText } from './policyDialog.js'
import { preferences } from './preferences.js'
import { revealedCount, toggleBlur } from './preview.js'

const HELP = [
  ['A', 'Agree with the model'],
  ['X', 'Disagree'],
  ['1', 'The right label is normal'],
  ['2', 'The right label is nsfw'],
  ['Space', 'Skip to the next image'],
  ['Backspace, Ctrl+Z', 'Undo the last answer'],
  ['F', 'Ask others for a second opinion'],
  ['N', 'Add reasons or a note'],
  ['Arrows', 'Move without deciding'],
  ['Shift+Arrows', 'Gallery: select a range; A, X, 1 and 2 then answer all of it'],
  ['Esc', 'Gallery: select nothing'],
  ['V', 'See the image unblurred: held, or on and off, as chosen in Viewing'],
  ['B', 'Blur on or off for all images'],
  ['P', 'Read the policy text, where there is one'],
  ['?', 'Show or hide these keys'],
]

const desks = []
let held = null

/** Registers a tab: the element that shows whether it is open, and its handlers by key. */
export function useKeys(root, handlers) {
  desks.push({ root, handlers })
}

const overlay = make(
  'dialog',
  { class: 'keys-overlay', 'aria-label': 'Keys' },
  make('h2', {}, 'Keys'),
  make(
    'dl',
    {},
    ...HELP.flatMap(([key, meaning]) => [
      make('dt', {}, make('kbd', {}, key)),
      make('dd', {}, meaning),
    ]),
  ),
  make('form', { method: 'dialog' }, make('button', { class: 'quiet' }, 'Close')),
)

/** Shows or hides the list of keys. */
export function toggleHelp() {
  if (!overlay.isConnected) document.body.append(overlay)
  if (overlay.open) overlay.close()
  else overlay.showModal()
}

function nameOf(event) {
  if ((event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === 'z')
    return 'undo'
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return null
  if (event.key === 'Backspace') return 'undo'
  return event.key.length === 1 ? event.key.toLowerCase() : event.key
}

function down(event) {
  const name = nameOf(event)
  if (name === '?' && overlay.open) {
    overlay.close()
    return
  }
  if (name === 'p' && policyText.open) {
    if (!event.repeat) togglePolicyText()
    return
  }
  if (name === null || inField(event)) return
  const onButton = event.target.closest?.('button, a, [role="tab"], summary')
  const onOpenTab = onButton?.getAttribute('aria-selected') === 'true' // pressing it does nothing
  if (onButton && !onOpenTab && [' ', 'Enter'].includes(name)) return
  if (onButton?.getAttribute('role') === 'tab' && name.startsWith('Arrow')) return
  if (name === '?') return toggleHelp()
  if (name === 'p' && policyText.available && !event.repeat) return togglePolicyText()
  const desk = desks.find(({ root }) => shown(root))
  if (!desk) return
  if (name === 'v') {
    event.preventDefault()
    if (!event.repeat) see(desk)
    return
  }
  const withShift = event.shiftKey && desk.handlers[`Shift+${name}`]
  const handler = name === 'b' ? toggleBlur : withShift || desk.handlers[name]
  if (!handler) return
  event.preventDefault()
  if (event.repeat && !name.startsWith('Arrow')) return // holding a key decides once
  handler()
}

function see(desk) {
  const before = revealedCount()
  const release = desk.handlers.hold?.() ?? null
  if (preferences().reveal === 'hold') held = release
  else if (revealedCount() === before) release?.() // it was shown already: the second press hides
}

function up(event) {
  if (event.key.toLowerCase() !== 'v' || !held) return
  held()
  held = null
}

document.addEventListener('keydown', down)
document.addEventListener('keyup', up)
window.addEventListener('blur', () => {
  held?.()
  held = null
})
