// Whether a reviewer's label agrees with the model's label that is on screen. No DOM.

/** @import { Label, ModelLabel } from '../shared/policy.js' */

/** @typedef {'agree' | 'disagree' | 'unsure'} Agreement */

/**
 * Null without a decision. Derived, not stored: moving the threshold changes the model's label, and
 * with it whether an earlier decision agrees. Unsure neither agrees nor disagrees.
 *
 * @param {Label | null | undefined} reviewers
 * @param {ModelLabel | null} models
 * @returns {Agreement | null}
 */
export function agreementOf(reviewers, models) {
  if (!reviewers) return null
  if (reviewers === 'unsure') return 'unsure'
  return reviewers === models ? 'agree' : 'disagree'
}
