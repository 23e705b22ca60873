// Drawing of verdicts: action marks, file warnings, the score bar.

/** @import { Action, Policy } from './policy.js' */
/** @import { Image } from './server.js' */

import { icon, make } from './dom.js'

/** @type {Record<Action, string>} */
export const ACTION_WORDS = {
  allow: 'Allow',
  review: 'Review',
  block: 'Block',
  unavailable: 'Unavailable',
}

/**
 * The warnings about a file as a list of sentences; null without warnings.
 *
 * @param {Image} image
 */
export function warningList({ warnings }) {
  if (!warnings?.length) return null
  return make(
    'ul',
    { class: 'warnings', 'aria-label': 'Warnings' },
    ...warnings.map(({ message }) => make('li', {}, message)),
  )
}

/**
 * An action as shape and word.
 *
 * @param {Action} action
 */
export function actionMark(action) {
  return make('span', { class: `action action-${action}` }, icon(action), ACTION_WORDS[action])
}

/** @type {[string, 'review_from' | 'review_to' | 'threshold'][]} */
const LIMITS = [
  ['--from', 'review_from'],
  ['--to', 'review_to'],
  ['--threshold', 'threshold'],
]

/** @param {number} value */
const percent = (value) => `${100 * value}%`

/** A score on a line from 0 to 1 with the threshold and the review band. */
export class ScoreBar {
  /** @type {Policy | null} The limits as drawn last. */
  #drawn = null
  #number = make('output', { class: 'score-number' })
  element = make(
    'div',
    { class: 'score-bar', role: 'img' },
    make('div', { class: 'score-band' }),
    make('div', { class: 'score-tick' }),
    make('div', { class: 'score-dot' }),
    this.#number,
  )

  /** @param {number | null | undefined} score */
  drawScore(score) {
    this.element.style.setProperty('--score', percent(score ?? 0))
    this.element.classList.toggle('no-score', score == null)
    this.#number.textContent = score == null ? 'none' : score.toFixed(3)
  }

  /**
   * Writes only the limits that changed: with 500 cards each style write counts.
   *
   * @param {Policy} policy
   */
  drawPolicy(policy) {
    for (const [property, key] of LIMITS) {
      if (this.#drawn?.[key] !== policy[key]) {
        this.element.style.setProperty(property, percent(policy[key]))
      }
    }
    this.#drawn = policy
  }

  /** Sets the name for screen readers from what is drawn. */
  describe() {
    const policy = this.#drawn
    if (!policy) return
    this.element.setAttribute(
      'aria-label',
      `Score ${this.#number.textContent}, threshold ${policy.threshold.toFixed(2)}, review band ` +
        `${policy.review_from.toFixed(2)} to ${policy.review_to.toFixed(2)}`,
    )
  }
}

/** What the parts of a score bar mean. */
export function makeLegend() {
  /** @param {string} part @param {string} words */
  const entry = (part, words) =>
    make('span', {}, make('span', { class: `legend-${part}`, 'aria-hidden': 'true' }), words)
  return make(
    'p',
    { class: 'legend' },
    entry('dot', 'score of this image'),
    entry('tick', 'threshold: NSFW from here'),
    entry('band', 'review band: a person decides'),
  )
}
