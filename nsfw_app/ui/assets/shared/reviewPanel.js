// One image and the decision about it: preview, verdict, score bar, buttons, form. Used by the
// Review and the Queue tab, which handle the decision.

/** @import { FormValues } from './decisionForm.js' */
/** @import { Label } from './policy.js' */
/** @import { Image, NewDecision } from './server.js' */

import { makeDecisionForm } from './decisionForm.js'
import { make } from './dom.js'
import { toggleHelp } from './keys.js'
import { may, READ_ONLY } from './permissions.js'
import { explain, INITIAL_POLICY, opposite, parseThreshold, policyAt, verdictOf } from './policy.js'
import { Preview } from './preview.js'
import { status } from './server.js'
import { actionMark, ScoreBar, warningList } from './verdict.js'

/**
 * Builds the panel. The ids are of the elements that have fixed selectors.
 *
 * @template {Image} I
 * @param {object} options
 * @param {{ stage: HTMLElement, verdict: HTMLElement, decision: HTMLElement }} options.parts
 * @param {{ verdict?: string, probabilities?: string, agree?: string, disagree?: string }} [options.ids]
 * @param {(image: I, decision: NewDecision) => void} options.onDecision
 * @param {HTMLElement[]} [options.extra] Shown below the buttons.
 */
export function makeReviewPanel({ parts, ids = {}, onDecision, extra = [] }) {
  let policy = INITIAL_POLICY
  /** @type {number | null} */
  let policyVersion = null
  /** @type {I | null} */
  let image = null
  /** @type {Preview | null} */
  let preview = null
  let shownAt = 0

  const verdict = make('section', {
    id: ids.verdict,
    class: 'verdict',
    'aria-live': 'polite',
    'aria-label': 'Verdict',
  })
  const bar = new ScoreBar()
  parts.verdict.replaceChildren(verdict, bar.element)

  /** @param {string} word @param {string} key @param {Record<string, any>} attributes */
  const button = (word, key, attributes) =>
    make('button', { type: 'button', ...attributes }, word, make('kbd', {}, key))
  const agreeButton = button('Agree', 'A', { id: ids.agree, class: 'primary', onclick: agree })
  const disagreeButton = button('Disagree', 'X', { id: ids.disagree, onclick: disagree })
  const formSlot = make('div', { class: 'form-slot' })
  const message = make('p', { class: 'saved', role: 'status' })
  const probabilities = make('section', {
    id: ids.probabilities,
    class: 'probabilities',
    'aria-label': 'Probabilities',
  })
  parts.decision.replaceChildren(
    make('div', { class: 'buttons decision-buttons' }, agreeButton, disagreeButton),
    formSlot,
    message,
    ...extra,
    probabilities,
    make('div', { class: 'buttons' }, button('Keys', '?', { class: 'quiet', onclick: toggleHelp })),
  )

  /**
   * Shows an image, hidden, or nothing.
   *
   * @param {I | null} next
   */
  function show(next) {
    preview?.conceal()
    closeForm()
    image = next
    preview = null
    if (image) {
      preview = new Preview(image, 'picture')
      const caption = make('figcaption', {}, describe(image), preview.makeButton())
      parts.stage.replaceChildren(make('figure', {}, preview.element, caption))
    }
    shownAt = performance.now()
    draw()
  }

  /** @param {Image} of */
  function describe({ name, format, width, height, frame = 0, frames = 1 }) {
    const position = frames > 1 ? `, frame ${frame + 1} of ${frames}` : ''
    const size = width ? `${format}, ${width} × ${height}${position}` : ''
    return make('span', { class: 'name' }, make('b', {}, name), make('span', {}, size))
  }

  function draw() {
    agreeButton.disabled = disagreeButton.disabled = !classified()
    bar.drawScore(image?.nsfw_score)
    bar.drawPolicy(policy)
    bar.describe()
    drawVerdict()
    drawProbabilities()
  }

  function drawVerdict() {
    if (!image) {
      verdict.replaceChildren(make('p', { class: 'muted' }, 'The verdict appears here.'))
    } else if (image.error) {
      verdict.replaceChildren(actionMark('unavailable'), make('p', {}, image.error.message))
    } else {
      const { label, action } = verdictOf(image, policy)
      const word = make('b', { class: 'label' }, label)
      const reason = explain(action, image, policy)
      const sentence = make('p', {}, 'The model calls it ', word, `. ${reason}`)
      const warnings = warningList(image)
      verdict.replaceChildren(actionMark(action), sentence, ...(warnings ? [warnings] : []))
    }
  }

  function drawProbabilities() {
    const values = classified()?.probabilities
    if (!values) {
      probabilities.replaceChildren()
      return
    }
    const rows = Object.entries(values)
      .sort(([, a], [, b]) => b - a)
      .map(([label, value]) =>
        make(
          'div',
          { class: 'probability' },
          make('span', {}, label),
          make('meter', { min: 0, max: 1, value, 'aria-label': label }),
          make('output', {}, value.toFixed(3)),
        ),
      )
    probabilities.replaceChildren(make('h2', {}, 'Probabilities'), ...rows)
  }

  /** The image, if the model classified it. */
  const classified = () => (image && !image.error ? image : null)
  const modelLabel = () => verdictOf(image, policy).label

  /** @param {{ label: Label } & Partial<FormValues>} values */
  function save(values) {
    const about = classified()
    if (!about) return
    if (!may('review')) {
      message.replaceChildren(READ_ONLY)
      return
    }
    const elapsedMs = Math.round(performance.now() - shownAt)
    closeForm()
    onDecision(about, { ...values, threshold: policy.threshold, elapsedMs })
  }

  /**
   * Saves without a form. While the form is open, only the form saves.
   *
   * @param {Label | null} label
   */
  function saveLabel(label) {
    if (label && !formSlot.children.length) save({ label })
  }

  function agree() {
    saveLabel(modelLabel())
  }

  function disagree() {
    openForm()?.focus()
  }

  function openForm() {
    const reasons = status.value?.reasons
    if (!classified() || !reasons || !may('review')) return null
    const form = makeDecisionForm(
      reasons,
      { label: opposite(modelLabel()) },
      { onSave: save, onCancel: closeForm },
    )
    formSlot.replaceChildren(form.form)
    return form
  }

  function closeForm() {
    const focused = formSlot.contains(document.activeElement)
    formSlot.replaceChildren()
    if (focused) agreeButton.focus()
  }

  /**
   * Moves the threshold, once the policy is known.
   *
   * @param {unknown} value As the slider sends it.
   */
  function setThreshold(value) {
    const threshold = parseThreshold(value)
    const now = status.value
    if (threshold === null || !now) return
    policy = policyAt(now.policy, threshold)
    draw()
  }

  status.subscribe((now, previous) => {
    const same = now.policy.version === policyVersion && now.state === previous?.state
    policyVersion = now.policy.version
    if (!same) policy = policyAt(now.policy, now.policy.threshold)
    draw()
  })
  draw()

  return {
    show,
    setThreshold,
    image: classified,
    /** @param {...(Node | string)} nodes */
    say: (...nodes) => message.replaceChildren(...nodes),
    keys: {
      a: agree,
      x: disagree,
      1: () => saveLabel('normal'),
      2: () => saveLabel('nsfw'),
      n: () => openForm()?.focusNote(),
    },
    /** Reveals the preview; the function that is returned hides it. */
    hold: () => {
      const held = preview
      held?.reveal()
      return () => held?.conceal()
    },
  }
}
