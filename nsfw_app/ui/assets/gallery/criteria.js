// Which cards pass the filters. No DOM.

/** @import { Action } from '../shared/policy.js' */

/** @typedef {'any' | 'open' | 'agree' | 'disagree'} DecisionState */

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
 * @property {{ agrees: boolean | null, reasons: string[] } | null} decision
 */

/**
 * Whether a card passes all criteria except the action.
 *
 * @param {Candidate} card
 * @param {Criteria} criteria
 */
export function passes({ image, names, decision }, { state, reason, name, low, high }) {
  if (state === 'open' && decision) return false
  if (state === 'agree' && decision?.agrees !== true) return false
  if (state === 'disagree' && decision?.agrees !== false) return false
  if (reason && !decision?.reasons.includes(reason)) return false
  if (name && !names.some((candidate) => candidate.includes(name))) return false
  if (low === null && high === null) return true
  if (image.nsfw_score == null) return false
  return image.nsfw_score >= (low ?? 0) && image.nsfw_score <= (high ?? 1)
}
