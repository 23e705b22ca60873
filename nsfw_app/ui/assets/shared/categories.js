// The categories of what is unsafe about an image: names, words, and which rules they reach. No DOM.

/** @import { Category, CategoryRule, Policy, Scored } from './policy.js' */

/** In the order in which they are listed, as in nsfw_app/records.py. @type {[Category, string][]} */
export const CATEGORY_WORDS = [
  ['sexual_explicit', 'Sexual, explicit'],
  ['sexual_suggestive', 'Sexual, suggestive'],
  ['nudity', 'Nudity'],
  ['drawing', 'Drawing'],
  ['gore_or_violence', 'Gore or violence'],
  ['self_harm', 'Self-harm'],
  ['other', 'Other'],
]

const UNRULED = 0.5 // the limit of a category to which no rule applies

/** @type {Record<string, string>} */
const WORDS = Object.fromEntries(CATEGORY_WORDS)

/**
 * The words for a category.
 *
 * @param {string} category
 */
export const categoryWord = (category) => WORDS[category] ?? category

/** @param {string[]} categories */
export const categoryWords = (categories) => categories.map(categoryWord).join('; ')

/**
 * The rule of a category, if the policy has one.
 *
 * @param {Category} category
 * @param {Policy} policy
 * @returns {CategoryRule | undefined}
 */
export const ruleOf = (category, { category_rules: rules }) =>
  rules?.find((rule) => rule.category === category)

/**
 * The probability from which an image counts as one of a category: the rule's threshold, or 0.5.
 *
 * @param {Category} category
 * @param {Policy} policy
 */
export const limitOf = (category, policy) => ruleOf(category, policy)?.threshold ?? UNRULED

/** @typedef {{ category: Category, probability: number, rule: CategoryRule | undefined }} Judged */

/**
 * The categories that were judged, in the order of the list; those of no model are left out.
 *
 * @param {Scored | null} image
 * @param {Policy} policy
 * @returns {Judged[]}
 */
export function judgedCategories(image, policy) {
  return CATEGORY_WORDS.flatMap(([category]) => {
    const probability = image?.categories?.[category]
    if (probability === undefined) return []
    return [{ category, probability, rule: ruleOf(category, policy) }]
  })
}

/**
 * The names of the categories whose probability is not below their limit.
 *
 * @param {Scored} image
 * @param {Policy} policy
 */
export function shownCategories(image, policy) {
  return judgedCategories(image, policy)
    .filter(({ category, probability }) => probability >= limitOf(category, policy))
    .map(({ category }) => category)
}

/**
 * The most probable category that reaches its rule; null where none does.
 *
 * @param {Scored} image
 * @param {Policy} policy
 * @returns {Judged | null}
 */
export function highestRuled(image, policy) {
  return judgedCategories(image, policy)
    .filter(({ probability, rule }) => rule && probability >= rule.threshold)
    .reduce(
      (/** @type {Judged | null} */ highest, one) =>
        highest && highest.probability >= one.probability ? highest : one,
      null,
    )
}

/**
 * The value by which images are sorted: of one category, or the highest of all; null where no model
 * judged it.
 *
 * @param {Scored} image
 * @param {Category | ''} category Empty for the highest.
 * @returns {number | null}
 */
export function probabilityOf({ categories }, category) {
  if (!categories) return null
  if (category) return categories[category] ?? null
  const values = Object.values(categories)
  return values.length ? Math.max(...values) : null
}

/**
 * The judged categories as a phrase: words with their probabilities; empty without any.
 *
 * @param {Scored} image
 */
export const categoriesText = ({ categories }) =>
  CATEGORY_WORDS.filter(([name]) => categories?.[name] !== undefined)
    .map(([name, word]) => `${word} ${categories?.[name]?.toFixed(3)}`)
    .join('; ')
