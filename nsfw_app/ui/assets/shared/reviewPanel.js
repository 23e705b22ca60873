// One image and the decision about it: stage, verdict, score bar, buttons, form. Used by the Review
// and the Queue tab, which handle the decision.

/** @import { FormValues } from './decisionForm.js' */
/** @import { Say } from './messageLine.js' */
/** @import { Label } from './policy.js' */
/** @import { Decision, Image, NewDecision } from './server.js' */

import { drawCategories } from './categoryBars.js'
import { LABEL_WORDS, makeDecisionForm } from './decisionForm.js'
import { isVisible, make, watchVisibility } from './dom.js'
import { closeExplanation } from './explanation.js'
import { makeExplanationBox } from './explanationBox.js'
import { makeExplanationButton } from './explanationButton.js'
import { exposureOf } from './exposure.js'
import { fileName } from './fileName.js'
import { focusStage, keyHint, keyWord, toggleHelp } from './keys.js'
import { followInLoupe, inLoupe, toggleLoupe } from './loupe.js'
import { makeMessageLine } from './messageLine.js'
import { may, READ_ONLY } from './permissions.js'
import { explain, INITIAL_POLICY, opposite, parseThreshold, policyAt, verdictOf } from './policy.js'
import { preferences } from './preferences.js'
import { Preview } from './preview.js'
import { messageOf, RequestError, status, unsavedDecisions } from './server.js'
import { stalledMessage } from './unsavedList.js'
import { actionMark, ScoreBar, warningList } from './verdict.js'

const REASON_WANTED = 'Choose a reason: each disagreement needs one here.'
const BLIND = 'Score and verdict are hidden until you decide, so that they do not influence you.'

/**
 * Builds the panel. The buttons with fixed selectors have their ids while the panel is visible.
 *
 * @template {Image} I
 * @param {object} options
 * @param {'review' | 'queue'} options.tab
 * @param {{ stage: HTMLElement, verdict: HTMLElement, decision: HTMLElement }} options.parts
 * @param {{ verdict?: string, probabilities?: string }} [options.ids]
 * @param {(image: I, decision: NewDecision) => void} options.onDecision
 * @param {HTMLElement[]} [options.extra] Shown below the buttons.
 */
export function makeReviewPanel({ tab, parts, ids = {}, onDecision, extra = [] }) {
  let policy = INITIAL_POLICY
  /** @type {number | null} */
  let policyVersion = null
  /** @type {I | null} */
  let image = null
  /** @type {Preview | null} */
  let preview = null
  let shownAt = 0
  let mostRows = 0

  const { stage } = parts
  stage.tabIndex = -1
  stage.setAttribute('role', 'group')
  stage.setAttribute('aria-label', 'Image')
  const verdict = make('section', {
    id: ids.verdict,
    class: 'verdict',
    'aria-live': 'polite',
    'aria-label': 'Verdict',
  })
  const bar = new ScoreBar()
  const categories = make('section', { class: 'categories', 'aria-label': 'Categories' })
  parts.verdict.replaceChildren(verdict, bar.element)

  /** @param {string} word @param {string} key @param {Record<string, any>} attributes */
  const button = (word, key, attributes) =>
    make('button', { type: 'button', ...attributes }, word, keyHint(key))
  const agreeButton = button('Agree', 'a', { class: 'primary', onclick: agree })
  const disagreeButton = button('Disagree', 'x', { onclick: disagree })
  const labelButtons = LABEL_WORDS.map(([label, word, key]) => {
    const onclick = () => decide(label)
    return { label, element: button(word, key, { 'aria-pressed': 'false', onclick }) }
  })
  const comparing = make('div', { class: 'buttons' }, agreeButton, disagreeButton)
  const labeling = make('div', { class: 'buttons' }, ...labelButtons.map(({ element }) => element))
  const formSlot = make('div', { class: 'form-slot' })
  const message = make('p', { class: 'saved', role: 'status' })
  const { begin, say } = makeMessageLine((...words) => message.replaceChildren(...words))
  const heatMapButton = makeExplanationButton({ image: () => image, say })
  const details = make('div', { class: 'details' })
  const probabilities = make('section', {
    id: ids.probabilities,
    class: 'probabilities',
    'aria-label': 'Probabilities',
  })
  parts.decision.replaceChildren(
    make('div', { class: 'decision-buttons' }, comparing, labeling),
    message,
    makeExplanationBox().element,
    formSlot,
    details,
    ...extra,
    probabilities,
    make(
      'div',
      { class: 'buttons' },
      make(
        'button',
        { type: 'button', class: 'quiet', onclick: toggleHelp },
        'Keys',
        make('kbd', {}, '?'),
      ),
    ),
  )

  /** Below the score; on a low screen below the buttons, which are on it with the image then. */
  function placeCategories() {
    if (low.matches) details.before(categories)
    else parts.verdict.append(categories)
  }
  const low = matchMedia('(height < 560px)')
  low.addEventListener('change', placeCategories)
  placeCategories()

  /**
   * Shows an image, hidden, or nothing.
   *
   * @param {I | null} next
   */
  function show(next) {
    preview?.conceal()
    closeForm()
    if (image) closeExplanation(image)
    image = next
    preview = null
    if (image) {
      preview = new Preview(image, 'picture')
      const frame = make('div', { class: 'frame' }, preview.element)
      const caption = make(
        'figcaption',
        {},
        describe(image),
        heatMapButton.element,
        preview.makeButton(),
      )
      frame.style.setProperty('--width', String(image.width ?? 0))
      stage.replaceChildren(make('figure', {}, frame, caption))
      if (tab === 'queue' && preferences.value.reveal === 'at_once') preview.reveal()
    }
    stage.setAttribute('aria-label', image ? `Image ${image.name}` : 'Image')
    shownAt = performance.now()
    draw()
    if (isVisible(stage)) followInLoupe(image, preview) // else it shows another tab's image
  }

  /** @param {Image} of */
  function describe({ name, format, width, height, frame = 0, frames = 1 }) {
    const position = frames > 1 ? `, frame ${frame + 1} of ${frames}` : ''
    const size = width ? `${format}, ${width} × ${height}${position}` : ''
    return make('div', { class: 'caption' }, fileName(name), make('span', { class: 'muted' }, size))
  }

  /** Whether score and verdict stay hidden until the decision. */
  const isBlind = () => Boolean(image && !image.error && image.nsfw_score == null)

  function draw() {
    const blocked = !classified() || formSlot.children.length > 0
    agreeButton.disabled = disagreeButton.disabled = blocked || isBlind()
    comparing.classList.toggle('unseen', isBlind())
    for (const { label, element } of labelButtons) {
      element.disabled = blocked
      element.setAttribute('aria-pressed', String(image?.decision?.reviewer_label === label))
    }
    bar.element.classList.toggle('unseen', isBlind())
    bar.drawScore(image?.nsfw_score)
    bar.drawPolicy(policy)
    bar.describe()
    heatMapButton.draw()
    drawVerdict()
    drawBars()
    drawProbabilities()
    const warnings = image && warningList(image)
    details.replaceChildren(...(warnings ? [warnings] : []))
  }

  /** Keeps the height of the tallest list, so that the buttons below stay in place. */
  function drawBars() {
    const parts = image && !isBlind() ? drawCategories(image, policy) : []
    categories.replaceChildren(...parts)
    mostRows = Math.max(mostRows, categories.querySelectorAll('li, p').length)
    categories.style.setProperty('--rows', String(mostRows))
    categories.hidden = mostRows === 0
  }

  function drawVerdict() {
    if (!image) {
      verdict.replaceChildren(make('p', { class: 'muted' }, 'The verdict appears here.'))
    } else if (image.error) {
      verdict.replaceChildren(actionMark('unavailable'), make('p', {}, image.error.message))
    } else if (isBlind()) {
      verdict.replaceChildren(make('p', { class: 'muted' }, BLIND))
    } else {
      const { label, action } = verdictOf(image, policy)
      const word = make('b', { class: 'label' }, label)
      const reason = explain(action, image, policy)
      const sentence = make('p', {}, 'The model calls it ', word, `. ${reason}`)
      verdict.replaceChildren(actionMark(action), sentence)
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
  /** By the model; null without a score on screen. */
  const modelLabel = () => verdictOf(image, policy).label

  /**
   * Why these values cannot be saved, or null.
   *
   * @param {{ label: Label, reasons?: string[] }} values
   */
  function refusal({ label, reasons = [] }) {
    if (!may('review')) return READ_ONLY
    const stalled = tab === 'review' ? stalledMessage() : null // the queue stays on the image instead
    if (stalled) return stalled
    if (isUnseen()) return unseenMessage()
    return needsReason(label) && !reasons.length ? REASON_WANTED : null
  }

  /** Whether this tab refuses decisions about images like the one on the stage. */
  function isUnseen() {
    const required = status.value?.require_seen?.includes(tab)
    return Boolean(required && image && !exposureOf(image).seen)
  }

  /** @param {Label} label */
  function needsReason(label) {
    const model = modelLabel()
    return Boolean(status.value?.require_reason && model && label !== 'unsure' && label !== model)
  }

  /** @param {{ label: Label } & Partial<FormValues>} values */
  function save(values) {
    const about = classified()
    if (!about) return
    const exposure = exposureOf(about)
    const elapsedMs = Math.round(performance.now() - shownAt)
    closeExplanation(about)
    closeForm()
    focusStage()
    onDecision(about, {
      ...values,
      threshold: policy.threshold,
      elapsedMs,
      ...exposure,
      tab,
      policyVersion,
    })
  }

  /**
   * Saves without the form, or says why not.
   *
   * @param {Label} label
   */
  function decide(label) {
    if (!classified() || formSlot.children.length) return
    const problem = refusal({ label })
    if (problem === null) save({ label })
    else if (problem === REASON_WANTED) openForm(label, problem)?.focus()
    else say(problem)
  }

  function agree() {
    const label = modelLabel()
    if (label) decide(label)
    else if (isBlind()) say(`${BLIND} Choose Normal, NSFW or Unsure.`)
  }

  function disagree() {
    const label = modelLabel()
    if (label) openForm(opposite(label))?.focus()
    else agree()
  }

  /**
   * Opens the form; one that is open stays as it is.
   *
   * @param {Label | null} label
   * @param {string} [problem]
   */
  function openForm(label, problem = '') {
    const reasons = status.value?.reasons
    if (!classified() || !reasons || !may('review') || formSlot.children.length) return null
    const form = makeDecisionForm(
      reasons,
      { label, problem },
      { onSave: save, onCancel: closeForm, refuse: refusal },
    )
    formSlot.replaceChildren(form.form)
    draw()
    return form
  }

  /** Closes the form; the focus goes to the stage, unless it is in another tab. */
  function closeForm() {
    const wasOpen = formSlot.children.length > 0
    formSlot.replaceChildren()
    if (!wasOpen) return
    draw()
    if (isVisible(stage)) focusStage()
  }

  /**
   * Shows a decided image again, with its label, to be changed or undone.
   *
   * @param {I & { decision: Decision }} decided
   * @param {(image: I & { decision: Decision }) => Promise<string>} undo Resolves to a message.
   * @param {...Node} actions
   */
  function reopen(decided, undo, ...actions) {
    const again = { ...decided }
    show(again)
    const undoButton = make('button', { type: 'button', class: 'link', onclick }, 'Undo')
    const { reviewer_label: label } = again.decision
    say(`Your decision: ${again.name} is ${label}. `, undoButton, ' ', ...actions)

    async function onclick() {
      undoButton.disabled = true
      const action = begin()
      try {
        sayUndone(await undo(again), action.done)
      } catch (error) {
        sayUndone(`Not undone. ${messageOf(error)}`, say)
      }
    }

    /** @param {string} words @param {Say} outcome */
    function sayUndone(words, outcome) {
      if (again !== image) outcome(words)
      else {
        draw()
        outcome(`${words} `, ...actions)
      }
    }
    return again
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
  watchVisibility(parts.decision, (visible) => {
    agreeButton.id = visible ? 'agree' : ''
    disagreeButton.id = visible ? 'disagree' : ''
  })
  draw()

  return {
    show,
    reopen,
    setThreshold,
    image: classified,
    begin,
    say,
    get formOpen() {
      return formSlot.children.length > 0
    },
    /**
     * Shows the decision about an image, if it is still on the stage.
     *
     * @param {Image} about
     * @param {Decision | null} decision
     */
    setDecision(about, decision) {
      about.decision = decision
      if (about === image) draw()
    },
    /**
     * Says why the server refused a decision about the image on the stage, and how to decide it.
     *
     * @param {Image} about
     * @param {NewDecision} decision
     * @param {unknown} error
     */
    explainRefusal(about, { label }, error) {
      if (isCorrectable(error)) dismissRefused(about)
      if (kindOf(error) === 'not_seen') say(unseenMessage())
      else if (kindOf(error) === 'reason_required') openForm(label, REASON_WANTED)?.focus()
      else say(`Not saved: ${about.name}. ${messageOf(error)}`)
    },
    stage: () => stage,
    keys: {
      a: agree,
      x: disagree,
      1: () => decide('normal'),
      2: () => decide('nsfw'),
      3: () => decide('unsure'),
      n: () => {
        const label = modelLabel()
        openForm(label && opposite(label))?.focusNote()
      },
      h: heatMapButton.toggle,
      Enter: () => toggleLoupe(image, preview, { onClose: focusStage }),
    },
    /** Unblurs the preview; returns a function that blurs it again. */
    reveal: () => {
      const held = inLoupe(preview)
      held?.reveal()
      return () => held?.conceal()
    },
  }
}

/** @param {unknown} error */
const kindOf = (error) => (error instanceof RequestError ? error.kind : '')

/**
 * Whether a refused decision is recorded once the reviewer has seen the image, or given a reason.
 *
 * @param {unknown} error
 */
export const isCorrectable = (error) => ['not_seen', 'reason_required'].includes(kindOf(error))

/** It is on the stage again, so it is not listed as unsaved. @param {Image} image */
function dismissRefused({ sha256 }) {
  for (const item of unsavedDecisions.items.value) {
    const isAbout = item.answers.every((answer) => answer.image_sha256 === sha256)
    if (item.state === 'refused' && isAbout) unsavedDecisions.dismiss(item)
  }
}

/** How to reveal an image that was not seen, as a sentence. */
function unseenMessage() {
  const how = {
    hold: `Hold ${keyWord('v')}, or the button below the image, to see it`,
    click: `Press ${keyWord('v')}, or click the image, to see it`,
    at_once: 'Wait until it is shown',
  }[preferences.value.reveal]
  return `Not saved: this image is still hidden. ${how}; then decide.`
}
