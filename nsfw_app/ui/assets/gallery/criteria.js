// Which cards pass the filters. No DOM.

/** @import { Action } from '../shared/policy.js' */
/** @import { Agreement } from './agreement.js' */

/** @typedef {'any' | 'open' | Agreement} DecisionState */

/**
 * @typedef {object} Criteria
 * @property {Action | 'all'} action
 * @property {DecisionState} state
 * @property {string} reason A reason code; empty for any.
 * @property {string} name Lowercase part of a file name.
 * @property {number | null} low
 * @property {number | null} high
 */

/**
 * @typedef {object} Candidate
 * @property {string[]} names Lowercase.
 * @property {{ nsfw_score: number | null }} image
 * @property {{ reasons: string[] } | null} decision
 * @property {Agreement | null} agreement Of the decision with the label on the card.
 */

/**
 * Whether a card passes all criteria except the action.
 *
 * @param {Candidate} card
 * @param {Criteria} criteria
 */
export function passes({ image, names, decision, agreement }, { state, reason, name, low, high }) {
  if (state === 'open' ? decision : state !== 'any' && state !== agreement) return false
  if (reason && !decision?.reasons.includes(reason)) return false
  if (name && !names.some((candidate) => candidate.includes(name))) return false
  if (low === null && high === null) return true
  if (image.nsfw_score == null) return false
  return image.nsfw_score >= (low ?? 0) && image.nsfw_score <= (high ?? 1)
}
