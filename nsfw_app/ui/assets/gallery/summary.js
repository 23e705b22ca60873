// The line above the grid: what is shown, and what is not and why.

import { ACTIONS } from '../shared/verdict.js'

/** Sentences about the cards that pass the filters, of `total`; `onScreen` are not collapsed. */
export function summarise({ policy, total, passing, onScreen }) {
  const counts = Object.fromEntries(ACTIONS.map((action) => [action, 0]))
  let answered = 0
  let disagreements = 0
  let copies = 0
  for (const card of passing) {
    const { action, decision } = card.dataset
    counts[action] += 1
    if (decision) answered += 1
    if (decision === 'disagree') disagreements += 1
    copies += card.spare
  }
  const hidden = total - passing.length
  const collapsed = passing.length - onScreen
  const of = hidden ? `${passing.length} of ${number(total, 'image')}` : number(total, 'image')
  const parts = ACTIONS.filter((action) => counts[action]).map(
    (action) => `${counts[action]} ${action}`,
  )
  const sentences = [
    `${of} at threshold ${policy.threshold.toFixed(2)}${parts.length ? ': ' : ''}${parts.join(', ')}.`,
    `${answered} answered, ${number(disagreements, 'disagreement')}.`,
  ]
  if (hidden) sentences.push(`${hidden} ${hidden === 1 ? 'is' : 'are'} hidden by the filters.`)
  if (copies) sentences.push(`${number(copies, 'more file')} with the same content.`)
  if (collapsed) sentences.push(`${number(collapsed, 'near duplicate')} collapsed.`)
  return sentences.join(' ')
}

const number = (count, noun) => `${count} ${noun}${count === 1 ? '' : 's'}`
