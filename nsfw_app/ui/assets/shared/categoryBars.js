// Drawing of the categories of an image: a bar for each that was judged, why there is none, and whether
// the two models agree.

/** @import { Policy } from './policy.js' */
/** @import { DetailStatus, Image } from './server.js' */
/** @import { Judged } from './categories.js' */

import { categoryWord, judgedCategories } from './categories.js'
import { icon, make } from './dom.js'
import { verdictOf } from './policy.js'
import { status } from './server.js'
import { actionMark } from './verdict.js'

/**
 * The categories of an image; empty where no model judges categories.
 *
 * @param {Image | null} image
 * @param {Policy} policy On screen.
 * @returns {Node[]}
 */
export function drawCategories(image, policy) {
  if (!image || image.error || image.nsfw_score == null) return []
  const judged = judgedCategories(image, policy)
  const bars = judged.length
    ? [make('ul', { class: 'category-bars', 'aria-label': 'Categories' }, ...judged.map(drawBar))]
    : []
  const note = unjudgedNote(image, status.value?.policy ?? policy)
  return [
    ...bars,
    ...(note ? [make('p', { class: 'muted category-note' }, note)] : []),
    ...drawAgreement(image, policy),
  ]
}

/** @param {Judged} judged */
function drawBar({ category, probability, rule }) {
  const track = make('span', { class: 'category-track', 'aria-hidden': 'true' }, make('i'))
  track.style.setProperty('--value', `${100 * probability}%`)
  if (rule) {
    track.append(make('b'))
    track.style.setProperty('--rule', `${100 * rule.threshold}%`)
  }
  const reached = rule && probability >= rule.threshold
  const limit = rule ? `, ${rule.action} from ${rule.threshold.toFixed(2)}` : ''
  return make(
    'li',
    { title: rule ? `Rule: ${rule.action} from ${rule.threshold.toFixed(2)}` : null },
    make('span', { class: 'category-name' }, categoryWord(category)),
    track,
    make('output', {}, probability.toFixed(3)),
    make('span', { class: 'visually-hidden' }, limit),
    reached ? actionMark(rule.action) : make('span', { class: 'category-below' }),
  )
}

/**
 * Why no model judged the categories of an image, as a sentence; empty where one did, or where none
 * is set up to.
 *
 * @param {Image} image
 * @param {Policy} policy In force.
 */
function unjudgedNote({ categories, detail, ...image }, policy) {
  const wanted = status.value?.detail
  if (detail?.error) return `Not judged by ${detail.model}: ${detail.error.message}`
  if (categories || (!wanted && !detail)) return ''
  if (detail) return `No label of ${detail.model} belongs to a category.`
  if (!wanted) return ''
  const { model, when } = wanted
  if (when === 'never') return 'Categories are not judged by any model: NSFW_DETAIL_WHEN is never.'
  if (when === 'flagged' && verdictOf(image, policy).action === 'allow')
    return `Categories are not judged by any model: ${model} is asked only where the score is not allowed.`
  return `Categories are not judged by any model: ${model} was not asked when the image was classified.`
}

/**
 * Whether the detail model agrees with the label of the first: its unsafe labels sum to 0.5 or more
 * where the first flags the image. Empty where it judged nothing.
 *
 * @param {Image} image
 * @param {Policy} policy
 */
function drawAgreement(image, policy) {
  const { detail } = image
  const probabilities = Object.entries(detail?.probabilities ?? {})
  const [top] = [...probabilities].sort(([, a], [, b]) => b - a)
  if (!detail || !top) return []
  const [label, probability] = top
  const flags = verdictOf(image, policy).label === 'nsfw'
  const words = `${image.model} ${flags ? 'flags it' : 'does not flag it'}; ${detail.model}: ${label} ${probability.toFixed(3)}.`
  if (!roleOf(label, detail.model)) return [make('p', { class: 'models' }, words)]
  const unsafe = probabilities
    .filter(([each]) => roleOf(each, detail.model) === 'unsafe')
    .reduce((sum, [, each]) => sum + each, 0)
  const agrees = flags === unsafe >= 0.5
  const mark = make(
    'span',
    { class: 'models-mark' },
    icon(agrees ? 'agree' : 'disagree'),
    agrees ? 'Models agree:' : 'Models disagree:',
  )
  const text = make('span', {}, words)
  return [make('p', { class: 'models', 'data-agree': String(agrees) }, mark, text)]
}

/**
 * The role of a label of the running detail model; undefined for a label of another one.
 *
 * @param {string} label
 * @param {string} model
 */
function roleOf(label, model) {
  /** @type {DetailStatus | null | undefined} */
  const running = status.value?.detail
  return running?.model === model ? running.roles?.[label] : undefined
}
