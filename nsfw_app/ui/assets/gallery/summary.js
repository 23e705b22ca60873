// The line above the grid: what is shown, what is hidden, and why. No DOM.

/** @import { Action, Policy } from '../shared/policy.js' */
/** @import { Agreement } from './agreement.js' */

import { categoryWord } from '../shared/categories.js'
import { ACTIONS } from '../shared/policy.js'

/** @typedef {{ action: Action, agreement: Agreement | null, spare: number }} Counted */

/**
 * Sentences about the cards that pass the filters.
 *
 * @param {object} found
 * @param {Policy} found.policy
 * @param {number} found.total Of all cards.
 * @param {(Counted & { unsent?: boolean })[]} found.passing
 * @param {number} found.onScreen Of those, not collapsed.
 * @param {number} [found.unjudged] Hidden only because no model judged the chosen category.
 * @param {string} [found.category] That one.
 */
export function summarize({ policy, total, passing, onScreen, unjudged = 0, category = '' }) {
  const parts = ACTIONS.map((action) => ({
    action,
    count: passing.filter((card) => card.action === action && !card.unsent).length,
  }))
    .filter(({ count }) => count)
    .map(({ action, count }) => `${count} ${action}`)
  const decided = passing.filter(({ agreement }) => agreement).length
  const disagreements = passing.filter(({ agreement }) => agreement === 'disagree').length
  const unsure = passing.filter(({ agreement }) => agreement === 'unsure').length
  const copies = passing.reduce((sum, { spare }) => sum + spare, 0)
  const hidden = total - passing.length
  const collapsed = passing.length - onScreen
  const of = hidden ? `${passing.length} of ${counted(total, 'image')}` : counted(total, 'image')
  const sentences = [
    `${of} at threshold ${policy.threshold.toFixed(2)}${parts.length ? ': ' : ''}${parts.join(', ')}.`,
    `${decided} decided, ${counted(disagreements, 'disagreement')}${unsure ? `, ${unsure} unsure` : ''}.`,
  ]
  const unsent = passing.filter((card) => card.unsent).length
  if (unsent) sentences.push(`${counted(unsent, 'file')} not sent.`)
  if (hidden) {
    const why = unjudged
      ? `, ${unjudged} of them because no model judged ${categoryWord(category)}`
      : ''
    sentences.push(`${hidden} ${hidden === 1 ? 'is' : 'are'} hidden by the filters${why}.`)
  }
  if (copies) sentences.push(`${counted(copies, 'more file')} with the same content.`)
  if (collapsed) sentences.push(`${counted(collapsed, 'near duplicate')} collapsed.`)
  return sentences.join(' ')
}

/**
 * @param {number} count
 * @param {string} noun
 */
const counted = (count, noun) => `${count} ${noun}${count === 1 ? '' : 's'}`
