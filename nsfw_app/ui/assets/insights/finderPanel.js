// The threshold finder: targets, charts with three lines to drag, a slider for each, the result, "Use
// it". A moved number sends no request.

/** @import { Evidence, Handle, Numbers } from './finder.js' */
/** @import { Checked } from './targets.js' */

import { askFirst } from '../shared/confirmation.js'
import { make } from '../shared/dom.js'
import { signal } from '../shared/signal.js'
import { makeAuditPlan } from './auditPlan.js'
import { assess, doubts, moved, reasonOf, resultSentences } from './finder.js'
import { makeFinderCharts } from './finderCharts.js'
import { handleText } from './handleText.js'
import { proposal } from './proposal.js'
import { checkedTargets } from './targets.js'

/**
 * @typedef {object} State
 * @property {Evidence} evidence
 * @property {boolean} runs
 * @property {Numbers} numbers
 * @property {Checked} checked The targets.
 * @property {string[]} unmet Why there is no proposal.
 */

/** @type {[Handle, string][]} */
const HANDLES = [
  ['review_from', 'Review from'],
  ['threshold', 'Threshold'],
  ['review_to', 'Review to'],
]
const RECALL = '95'
const BEFOREHAND =
  'The confidence holds for targets that were set before looking. Trying several and taking the best one weakens it.'
const OTHER_MODEL =
  'These numbers are not of the model that runs now, whose policy the form changes.'

/** @param {(proposal: Numbers & { reason: string }) => void} use Fills the policy form. */
export function makeFinderPanel(use) {
  const state = signal(/** @type {State | null} */ (null))
  const charts = makeFinderCharts((name, value) =>
    change((_, numbers) => moved(numbers, name, value)),
  )
  const auditPlan = makeAuditPlan()
  const fields = {
    recall: field('finder-recall', 'Recall, at least, in %', RECALL),
    precision: field('finder-precision', 'Precision, at least, in %'),
    reviews: field('finder-reviews', 'Reviews a day, at most'),
  }
  const wrong = make('div', { id: 'finder-wrong', role: 'status' })
  const handles = Object.fromEntries(HANDLES.map(([name, word]) => [name, handle(name, word)]))
  const result = make('div', { id: 'finder-result', role: 'status' })
  const hint = make('p', { class: 'muted', id: 'finder-hint' })
  const unmet = make('div', { id: 'finder-unmet', role: 'status' })
  const propose = button('finder-propose', 'Propose numbers', () => {
    const now = state.value
    if (!now?.checked.targets) return
    // From the policy's numbers: where handles were dragged to must not show in a proposal.
    const policy = numbersOf(now.evidence.policy)
    const { numbers, unmet: reasons } = proposal(now.evidence, policy, now.checked.targets)
    state.value = { ...now, numbers: numbers ?? now.numbers, unmet: reasons }
  })
  const reset = button('finder-reset', 'Numbers of the policy', () =>
    change(({ policy }) => numbersOf(policy)),
  )
  const useIt = button('finder-use', 'Use it', () => {
    const { evidence, numbers, checked: found } = state.value ?? {}
    const targets = found?.targets
    if (!evidence || !numbers || !targets) return
    const fill = () => use({ ...numbers, reason: reasonOf(evidence, numbers, targets) })
    const against = doubts(evidence, numbers, targets)
    if (!against.length) {
      fill()
      return
    }
    const { holds } = assess(evidence, numbers, targets)
    askFirst({
      title: holds ? 'The evidence is in doubt' : 'The target is not certified at these numbers',
      text: `${against.join(' ')} The reason of the policy will say so.`,
      confirm: holds ? 'Use it all the same' : 'Use without certificate',
      onConfirm: fill,
      onClose: () => useIt.focus(),
    })
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
      make('p', { class: 'muted' }, BEFOREHAND),
    ),
    wrong,
    unmet,
    charts.rates.element,
    result,
    make('div', { class: 'buttons' }, useIt),
    hint,
    auditPlan.element,
    charts.reviews.element,
  )

  /** @param {string} id @param {string} word @param {string} [value] */
  function field(id, word, value = '') {
    const input = make('input', { id, type: 'text', inputmode: 'decimal', value })
    input.setAttribute('aria-describedby', 'finder-wrong')
    input.addEventListener('input', () => {
      if (state.value) state.value = { ...state.value, checked: checked(), unmet: [] }
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
      'aria-label': word, // without the number, which is the value
    })
    const number = make('output', { for: input.id })
    input.addEventListener('input', () =>
      change((_, numbers) => moved(numbers, name, Number(input.value))),
    )
    const label = make('label', {}, make('span', {}, word), number, input)
    return { input, number, label }
  }

  /** @param {(evidence: Evidence, numbers: Numbers) => Numbers} next */
  function change(next) {
    const now = state.value
    if (!now) return
    state.value = { ...now, numbers: next(now.evidence, now.numbers), unmet: [] }
  }

  const checked = () =>
    checkedTargets({
      recall: fields.recall.input.value,
      precision: fields.precision.input.value,
      reviews: fields.reviews.input.value,
    })

  state.subscribe(({ evidence, runs, numbers, checked: { targets, errors }, unmet: reasons }) => {
    const { model } = evidence
    auditPlan.show(targets && { recall: targets.recall, reviews: targets.reviews, model })
    for (const [name, error] of Object.entries(errors))
      fields[/** @type {keyof typeof fields} */ (name)].input.setAttribute(
        'aria-invalid',
        String(Boolean(error)),
      )
    say(wrong, Object.values(errors).filter(Boolean))
    say(unmet, reasons.length ? ['No numbers meet these targets.', ...reasons] : [])
    for (const [name] of HANDLES) {
      const { input, number } = handles[name]
      const text = numbers[name].toFixed(2)
      input.value = String(numbers[name])
      input.setAttribute('aria-valuetext', handleText(name, evidence, numbers, targets))
      number.textContent = text
    }
    say(
      result,
      targets
        ? resultSentences(evidence, numbers, targets)
        : ['Correct the targets to see what is certified.'],
    )
    propose.disabled = !targets
    useIt.disabled = !targets || !runs || !evidence.reviews
    hint.textContent = runs ? '' : OTHER_MODEL
    hint.hidden = runs
    charts.show({ evidence, numbers, targets })
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
      state.value = { evidence, runs, numbers, checked: checked(), unmet: [] }
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

/** @param {HTMLElement} element @param {string[]} sentences */
const say = (element, sentences) =>
  element.replaceChildren(...sentences.map((text) => make('p', {}, text)))
