// Which cards pass the filters. No DOM.

/** @import { Action, Category, Policy, Scored } from '../shared/policy.js' */
/** @import { Agreement } from './agreement.js' */

import { limitOf } from '../shared/categories.js'

/** @typedef {'any' | 'open' | Agreement} DecisionState */
/** @typedef {'' | 'none' | Category} CategoryChoice Empty for any; `none` for images that no model judged. */

/**
 * @typedef {object} Criteria
 * @property {Action | 'all'} action
 * @property {DecisionState} state
 * @property {string} reason A reason code; empty for any.
 * @property {CategoryChoice} category
 * @property {number | null} categoryFrom Null for the limit that the policy sets.
 * @property {string} name Lowercase part of a file name.
 * @property {number | null} low
 * @property {number | null} high
 */

/**
 * @typedef {object} Candidate
 * @property {string[]} names Lowercase.
 * @property {Scored} image
 * @property {{ reasons: string[] } | null} decision
 * @property {Agreement | null} agreement Of the decision with the label on the card.
 */

/**
 * Whether a card passes all criteria except the action.
 *
 * @param {Candidate} card
 * @param {Criteria} criteria
 * @param {Policy} policy
 */
export function passes(card, criteria, policy) {
  return passesOthers(card, criteria) && hasCategory(card.image, criteria, policy)
}

/**
 * Whether a card passes all criteria except action and category.
 *
 * @param {Candidate} card
 * @param {Criteria} criteria
 */
function passesOthers({ image, names, decision, agreement }, { state, reason, name, low, high }) {
  if (state === 'open' ? decision : state !== 'any' && state !== agreement) return false
  if (reason && !decision?.reasons.includes(reason)) return false
  if (name && !names.some((candidate) => candidate.includes(name))) return false
  if (low === null && high === null) return true
  if (image.nsfw_score == null) return false
  return image.nsfw_score >= (low ?? 0) && image.nsfw_score <= (high ?? 1)
}

/**
 * @param {Scored} image
 * @param {Criteria} criteria
 * @param {Policy} policy
 */
function hasCategory({ categories }, { category, categoryFrom }, policy) {
  if (!category) return true
  if (category === 'none') return !categories
  const probability = categories?.[category]
  return probability !== undefined && probability >= (categoryFrom ?? limitOf(category, policy))
}

/**
 * Whether a card is hidden only because no model judged the category that is chosen.
 *
 * @param {Candidate} card
 * @param {Criteria} criteria
 */
export function isUnjudged(card, criteria) {
  const { category } = criteria
  if (!category || category === 'none' || card.image.categories?.[category] !== undefined)
    return false
  return passesOthers(card, criteria)
}
