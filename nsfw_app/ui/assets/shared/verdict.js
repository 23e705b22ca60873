// The page's copy of policy.py, so that a slider re-judges without asking anyone.

import { icon, make } from './dom.js'

export const ACTIONS = ['allow', 'review', 'block', 'unavailable']
export const ACTION_WORDS = {
  allow: 'Allow',
  review: 'Review',
  block: 'Block',
  unavailable: 'Unavailable',
}

/** The policy with its threshold moved; the band stretches to reach it. */
export function policyAt(policy, threshold) {
  return {
    threshold,
    review_from: Math.min(policy.review_from, threshold),
    review_to: Math.max(policy.review_to, threshold),
  }
}

/** Label and action of an image; without a score nothing was decided. */
export function judge(image, policy) {
  const score = image?.nsfw_score
  if (score == null) return { label: null, action: 'unavailable' }
  const label = score >= policy.threshold ? 'nsfw' : 'normal'
  if (score >= policy.review_to) return { label, action: 'block' }
  const allowed = score < policy.review_from && !image.incomplete
  return { label, action: allowed ? 'allow' : 'review' }
}

/** Why this action, in a sentence. */
export function because(action, image, policy) {
  const from = policy.review_from.toFixed(2)
  const to = policy.review_to.toFixed(2)
  const inBand = image.nsfw_score >= policy.review_from
  return {
    allow: `Allowed below ${from}.`,
    review: inBand
      ? `A person decides from ${from} to ${to}.`
      : 'A person decides because parts of the image are missing.',
    block: `Blocked at ${to} and above.`,
    unavailable: '',
  }[action]
}

/** The warnings about a file, a sentence each; null without any. */
export function warningList(image) {
  if (!image?.warnings?.length) return null
  return make(
    'ul',
    { class: 'warnings', 'aria-label': 'Warnings' },
    ...image.warnings.map(({ message }) => make('li', {}, message)),
  )
}

/** An action as shape and word. */
export function actionMark(action) {
  return make('span', { class: `action action-${action}` }, icon(action), ACTION_WORDS[action])
}

/** The score bar; give it to `drawScore` whenever score or policy change. */
export function scoreBar() {
  return make(
    'div',
    { class: 'score-bar', role: 'img' },
    make('div', { class: 'score-band' }),
    make('div', { class: 'score-tick' }),
    make('div', { class: 'score-dot' }),
    make('output', { class: 'score-number' }),
  )
}

/** Draws a score under a policy. */
export function drawScore(bar, score, policy) {
  const share = (value) => `${100 * value}%`
  bar.style.setProperty('--from', share(policy.review_from))
  bar.style.setProperty('--to', share(policy.review_to))
  bar.style.setProperty('--threshold', share(policy.threshold))
  bar.style.setProperty('--score', share(score ?? 0))
  bar.classList.toggle('no-score', score == null)
  const number = score == null ? 'none' : score.toFixed(3)
  bar.lastChild.textContent = number
  bar.setAttribute(
    'aria-label',
    `Score ${number}, threshold ${policy.threshold.toFixed(2)}, review band ` +
      `${policy.review_from.toFixed(2)} to ${policy.review_to.toFixed(2)}`,
  )
}

/** Calls back when the slider of this name moves; an emptied number box changes nothing. */
export function onThreshold(name, listener) {
  document.addEventListener(`threshold:${name}`, (event) => {
    const value = event.detail
    if (value === null || value === '' || !Number.isFinite(+value)) return
    listener(Math.min(1, Math.max(0, +value)))
  })
}
