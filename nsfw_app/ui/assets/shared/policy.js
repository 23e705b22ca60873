// From score and policy to label and action: the page's copy of nsfw_app/rules/policy.py, so that a
// slider recomputes verdicts without a request.

/** @typedef {'normal' | 'nsfw'} ModelLabel */
/** @typedef {'normal' | 'nsfw' | 'unsure'} Label */
/** @typedef {'allow' | 'review' | 'block' | 'unavailable'} Action */
/** @typedef {{ threshold: number, review_from: number, review_to: number }} Policy */
/** @typedef {{ nsfw_score: number | null, incomplete?: boolean }} Scored */
/** @typedef {{ label: ModelLabel | null, action: Action }} Verdict */

/** @type {Action[]} */
export const ACTIONS = ['allow', 'review', 'block', 'unavailable']

/** @type {Label[]} */
export const LABELS = ['normal', 'nsfw', 'unsure']

/** In force until the server's policy is known. @type {Policy} */
export const INITIAL_POLICY = { threshold: 0.5, review_from: 0.2, review_to: 0.8 }

/**
 * The policy with another threshold; the review band stretches to include it.
 *
 * @param {Policy} policy
 * @param {number} threshold
 * @returns {Policy}
 */
export function policyAt(policy, threshold) {
  return {
    threshold,
    review_from: Math.min(policy.review_from, threshold),
    review_to: Math.max(policy.review_to, threshold),
  }
}

/**
 * Label and action of an image. Without a score the action is `unavailable`.
 *
 * @param {Scored | null} image
 * @param {Policy} policy
 * @returns {Verdict}
 */
export function verdictOf(image, policy) {
  const score = image?.nsfw_score
  if (score == null) return { label: null, action: 'unavailable' }
  const label = score >= policy.threshold ? 'nsfw' : 'normal'
  if (score >= policy.review_to) return { label, action: 'block' }
  const allowed = score < policy.review_from && !image?.incomplete
  return { label, action: allowed ? 'allow' : 'review' }
}

/**
 * The reason for an action, as a sentence.
 *
 * @param {Action} action
 * @param {Scored} image
 * @param {Policy} policy
 */
export function explain(action, image, policy) {
  const from = policy.review_from.toFixed(2)
  const to = policy.review_to.toFixed(2)
  const inBand = image.nsfw_score !== null && image.nsfw_score >= policy.review_from
  return {
    allow: `Allowed below ${from}.`,
    review: inBand
      ? `A reviewer decides from ${from} to ${to}.`
      : 'A reviewer decides because parts of the image are missing.',
    block: `Blocked at ${to} and above.`,
    unavailable: '',
  }[action]
}

/**
 * The label that contradicts the model's.
 *
 * @param {Label | null} label
 * @returns {ModelLabel}
 */
export const opposite = (label) => (label === 'nsfw' ? 'normal' : 'nsfw')

/**
 * The threshold that a slider sends, limited to [0, 1]; null for an empty number field, which
 * changes nothing.
 *
 * @param {unknown} value
 */
export function parseThreshold(value) {
  if (value === null || value === '' || !Number.isFinite(Number(value))) return null
  return Math.min(1, Math.max(0, Number(value)))
}
