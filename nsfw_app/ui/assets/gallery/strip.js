// A strip of all members of collapsed groups: a look at them before one decision is recorded for
// each.

/** @import { Label } from '../shared/policy.js' */
/** @import { Card } from './card.js' */

import { askFirst } from '../shared/confirmation.js'
import { make } from '../shared/dom.js'
import { fileName } from '../shared/fileName.js'
import { Preview } from '../shared/preview.js'

/**
 * Opens the strip. The members are blurred; V reveals all of them, the button of one reveals that one.
 *
 * @param {Card[]} members
 * @param {object} options
 * @param {number} options.total Of the decisions, which may be about other cards too.
 * @param {(card: Card) => Label | null} options.labelOf Null where a form asks for it next.
 * @param {() => void} options.onConfirm
 * @param {() => void} options.onClose
 */
export function openStrip(members, { total, labelOf, onConfirm, onClose }) {
  const previews = members.map(({ image }) => new Preview(image, 'thumbnail'))
  const label = make('div', { class: 'strip', role: 'list', 'aria-label': 'Near duplicates' })
  label.append(...members.map((card, at) => item(card, previews[at], labelOf(card))))
  const labels = new Set(members.map(labelOf))
  const [only] = labels
  const as = labels.size === 1 && only ? ` as ${only}` : ''
  const others = total - members.length
  const dialog = askFirst({
    title: `${members.length} near duplicates`,
    text: `One decision is recorded for each of them${others ? `, and for ${others} more ${others === 1 ? 'image' : 'images'}` : ''}.`,
    confirm: only === null ? `Decide ${total} images` : `Save ${total} images${as}`,
    content: [label],
    onConfirm,
    onClose: () => {
      for (const preview of previews) preview.hide()
      onClose()
    },
  })
  dialog.classList.add('strip-dialog')
  dialog.addEventListener('keydown', (event) => {
    if (event.code !== 'KeyV' || event.ctrlKey || event.metaKey || event.altKey) return
    event.preventDefault()
    if (event.repeat) return
    const wasRevealed = previews.some(({ revealed }) => revealed)
    for (const preview of previews) preview.reveal()
    if (document.documentElement.dataset.reveal === 'click' && wasRevealed) conceal()
  })
  dialog.addEventListener('keyup', (event) => {
    if (event.code === 'KeyV' && document.documentElement.dataset.reveal !== 'click') conceal()
  })

  function conceal() {
    for (const preview of previews) preview.conceal()
  }
}

/**
 * @param {Card} card
 * @param {Preview} preview
 * @param {Label | null} label
 */
function item({ image, decision }, preview, label) {
  const reveal = preview.makeButton()
  reveal.append(make('span', { class: 'visually-hidden', dir: 'auto' }, image.name))
  const now = decision ? `You: ${decision.reviewer_label}` : ''
  return make(
    'div',
    { class: 'strip-item', role: 'listitem' },
    make('div', { class: 'card-preview' }, preview.element, reveal),
    fileName(image.name),
    make(
      'div',
      { class: 'strip-label' },
      [now, label && `will be ${label}`].filter(Boolean).join(', '),
    ),
  )
}
