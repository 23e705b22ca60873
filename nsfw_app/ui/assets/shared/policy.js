// From score, categories and policy to label and action: the page's copy of nsfw_app/rules/policy.py,
// so that a slider recomputes verdicts without a request.

/** @typedef {'normal' | 'nsfw'} ModelLabel */
/** @typedef {'normal' | 'nsfw' | 'unsure'} Label */
/** @typedef {'allow' | 'review' | 'block' | 'unavailable'} Action */
/** @typedef {'sexual_explicit' | 'sexual_suggestive' | 'nudity' | 'drawing' | 'gore_or_violence' | 'self_harm' | 'other'} Category */
/** @typedef {{ category: Category, threshold: number, action: 'review' | 'block' }} CategoryRule */
/**
 * @typedef {object} Policy
 * @property {number} threshold
 * @property {number} review_from
 * @property {number} review_to
 * @property {CategoryRule[]} [category_rules] At most one for each category.
 * @property {boolean} [overrules_allow] Whether rules apply to images that the score alone allows.
 */
/**
 * @typedef {object} Scored
 * @property {number | null} nsfw_score
 * @property {boolean} [incomplete] Pixels are missing, which the score does not cover.
 * @property {{ model: string, error: { kind: string, message: string } | null } | null} [detail] Null where
 *   the detail model was not asked.
 * @property {Partial<Record<Category, number>> | null} [categories] Null where no model judged them.
 */
/** @typedef {{ label: ModelLabel | null, action: Action }} Verdict */

import { categoryWord, highestRuled } from './categories.js'

/** @type {Action[]} */
export const ACTIONS = ['allow', 'review', 'block', 'unavailable']

/** @type {Label[]} */
export const LABELS = ['normal', 'nsfw', 'unsure']

// What is said of a category that reaches its rule on an image that the score allows.
const UNCHANGED = ' The rules of categories change that only where NSFW_DETAIL_WHEN is always.'

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
    ...policy,
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
  return { label, action: raisingRule(image, policy)?.action ?? actionOfScore(image, policy) }
}

/**
 * The action of an image by its score, without the rules of categories.
 *
 * @param {Scored | null} image
 * @param {Policy} policy
 * @returns {Action}
 */
function actionOfScore(image, policy) {
  const score = image?.nsfw_score
  if (score == null) return 'unavailable'
  if (score >= policy.review_to) return 'block'
  const judged = image?.detail ? !image.detail.error : !policy.overrules_allow
  const known = !image?.incomplete && judged
  return score < policy.review_from && known ? 'allow' : 'review'
}

/**
 * The rule that makes the action more severe than the score alone does; null where none does. Of
 * several, the most severe one, and of those the first.
 *
 * @param {Scored | null} image
 * @param {Policy} policy
 * @returns {CategoryRule | null}
 */
export function raisingRule(image, policy) {
  const categories = image?.categories
  if (!categories || !policy.category_rules?.length) return null
  const action = actionOfScore(image, policy)
  if (action === 'allow' ? !policy.overrules_allow : action !== 'review') return null
  const reached = policy.category_rules.filter(
    (rule) => (categories[rule.category] ?? 0) >= rule.threshold,
  )
  const blocking = reached.find((rule) => rule.action === 'block')
  return blocking ?? (action === 'allow' ? (reached[0] ?? null) : null)
}

/**
 * The reason for an action, as a sentence.
 *
 * @param {Action} action
 * @param {Scored} image
 * @param {Policy} policy
 */
export function explain(action, image, policy) {
  const raising = raisingRule(image, policy)
  if (raising) {
    const { category, threshold } = raising
    const probability = image.categories?.[category]?.toFixed(3)
    const reason = `${categoryWord(category)} ${probability} reaches ${threshold.toFixed(2)}.`
    return action === 'block' ? `Blocked because ${reason}` : `A reviewer decides because ${reason}`
  }
  const from = policy.review_from.toFixed(2)
  const to = policy.review_to.toFixed(2)
  const inBand = image.nsfw_score !== null && image.nsfw_score >= policy.review_from
  return {
    allow: `Allowed below ${from}.${highestRuled(image, policy) ? UNCHANGED : ''}`,
    review: inBand ? `A reviewer decides from ${from} to ${to}.` : explainUnknown(image, policy),
    block: `Blocked at ${to} and above.`,
    unavailable: '',
  }[action]
}

/**
 * Why an image with a low score needs a reviewer.
 *
 * @param {Scored} image
 * @param {Policy} policy
 */
function explainUnknown({ incomplete, detail }, policy) {
  if (!incomplete && detail?.error)
    return `A reviewer decides because ${detail.model} could not judge it.`
  if (!incomplete && !detail && policy.overrules_allow)
    return 'A reviewer decides because the detail model did not judge it.'
  return 'A reviewer decides because parts of the image are missing.'
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
