// The threshold finder: targets, charts, three handles below them, the result, "Use it". A moved
// handle sends no request.

/** @import { Evidence, Handle, Numbers, Targets } from './finder.js' */

import { make } from '../shared/dom.js'
import { signal } from '../shared/signal.js'
import { makeAuditPlan } from './auditPlan.js'
import { moved, proposed, reasonOf, resultSentences } from './finder.js'
import { makeFinderCharts } from './finderCharts.js'

/** @typedef {{ evidence: Evidence, runs: boolean, numbers: Numbers, targets: Targets }} State */

/** @type {[Handle, string][]} */
const HANDLES = [
  ['review_from', 'Review from'],
  ['threshold', 'Threshold'],
  ['review_to', 'Review to'],
]
const RECALL = 0.95
const OTHER_MODEL =
  'These numbers are not of the model that runs now, whose policy the form changes.'

/** @param {(proposal: Numbers & { reason: string }) => void} use Fills the policy form. */
export function makeFinderPanel(use) {
  const state = signal(/** @type {State | null} */ (null))
  const charts = makeFinderCharts()
  const auditPlan = makeAuditPlan()
  const fields = {
    recall: field('finder-recall', 'Recall, at least', { value: RECALL, min: 0.5, step: 0.01 }),
    precision: field('finder-precision', 'Precision, at least', { min: 0, step: 0.01 }),
    reviews: field('finder-reviews', 'Reviews a day, at most', { min: 0, step: 1 }),
  }
  const handles = Object.fromEntries(HANDLES.map(([name, word]) => [name, handle(name, word)]))
  const result = make('div', { id: 'finder-result', role: 'status' })
  const hint = make('p', { class: 'muted', id: 'finder-hint' })
  const propose = button('finder-propose', 'Propose numbers', () => change(proposed))
  const reset = button('finder-reset', 'Numbers of the policy', () =>
    change(({ policy }) => numbersOf(policy)),
  )
  const useIt = button('finder-use', 'Use it', () => {
    const now = state.value
    if (!now) return
    const { evidence, numbers, targets } = now
    use({ ...numbers, reason: reasonOf(evidence, numbers, targets) })
  })
  useIt.classList.add('primary')
  charts.rates.frame.after(
    make('div', { class: 'finder-handles' }, ...Object.values(handles).map(({ label }) => label)),
  )
  const element = make(
    'section',
    { class: 'definition-list insight', 'aria-label': 'Threshold finder' },
    make('h2', {}, 'Threshold finder'),
    make(
      'div',
      { class: 'finder-targets', role: 'group', 'aria-label': 'Targets' },
      ...Object.values(fields).map(({ label }) => label),
      propose,
      reset,
    ),
    charts.rates.element,
    result,
    make('div', { class: 'buttons' }, useIt),
    hint,
    auditPlan.element,
    charts.reviews.element,
  )

  /**
   * @param {string} id
   * @param {string} word
   * @param {Record<string, string | number>} attributes
   */
  function field(id, word, attributes) {
    const input = make('input', { id, type: 'number', inputmode: 'decimal', ...attributes })
    input.addEventListener('input', () => {
      if (state.value) state.value = { ...state.value, targets: targets() }
    })
    return { input, label: make('label', {}, make('span', {}, word), input) }
  }

  /** @param {Handle} name @param {string} word */
  function handle(name, word) {
    const input = make('input', {
      id: `finder-${name.replace('_', '-')}`,
      type: 'range',
      min: 0,
      max: 1,
      step: 0.01,
    })
    const number = make('output', { for: input.id })
    input.addEventListener('input', () =>
      change((_, numbers) => moved(numbers, name, Number(input.value))),
    )
    const label = make('label', {}, make('span', {}, word), number, input)
    return { input, number, label }
  }

  /** @param {(evidence: Evidence, numbers: Numbers, targets: Targets) => Numbers} next */
  function change(next) {
    const now = state.value
    if (!now) return
    state.value = { ...now, numbers: next(now.evidence, now.numbers, now.targets) }
  }

  /** What the fields say; without a recall, the one that the finder starts with. @returns {Targets} */
  function targets() {
    return {
      recall: share(fields.recall.input.value) ?? RECALL,
      precision: share(fields.precision.input.value),
      reviews: amount(fields.reviews.input.value),
    }
  }

  state.subscribe(({ evidence, runs, numbers, targets: wanted }) => {
    auditPlan.show({ recall: wanted.recall, reviews: wanted.reviews, model: evidence.model })
    for (const [name] of HANDLES) {
      const { input, number } = handles[name]
      const text = numbers[name].toFixed(2)
      input.value = String(numbers[name])
      input.setAttribute('aria-valuetext', text)
      number.textContent = text
    }
    result.replaceChildren(
      ...resultSentences(evidence, numbers, wanted).map((text) => make('p', {}, text)),
    )
    useIt.disabled = !runs || !evidence.reviews
    hint.textContent = runs ? '' : OTHER_MODEL
    hint.hidden = runs
    charts.show({ evidence, numbers, targets: wanted })
  })
  return {
    element,
    /**
     * Shows other evidence. Moved handles stay, unless the policy is another one.
     *
     * @param {Evidence & { policy: Numbers & { version: number }, model: string }} evidence
     * @param {boolean} runs Whether it is of the model that runs.
     */
    show(evidence, runs) {
      const before = state.value?.evidence.policy
      const numbers =
        state.value && JSON.stringify(before) === JSON.stringify(evidence.policy)
          ? state.value.numbers
          : numbersOf(evidence.policy)
      state.value = { evidence, runs, numbers, targets: targets() }
    },
  }
}

/**
 * @param {string} id
 * @param {string} word
 * @param {() => void} onclick
 */
const button = (id, word, onclick) => make('button', { id, type: 'button', onclick }, word)

/** @param {Numbers} policy @returns {Numbers} */
const numbersOf = ({ review_from, threshold, review_to }) => ({ review_from, threshold, review_to })

/**
 * A number of at least 0; null for none.
 *
 * @param {string} text
 */
function amount(text) {
  const number = Number(text)
  return text.trim() && Number.isFinite(number) && number >= 0 ? number : null
}

/**
 * A share that is written as 0.95 or as 95; null for none.
 *
 * @param {string} text
 */
function share(text) {
  const number = amount(text)
  if (number === null || number > 100) return null
  return number > 1 ? number / 100 : number
}
