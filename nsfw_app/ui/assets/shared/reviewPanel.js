// One image and the answer to it: picture, verdict, score bar, buttons, form. Review and Queue
// both are such a place; what happens to an answer is theirs to say.

import { answerForm, opposite } from './decisionForm.js'
import { make } from './dom.js'
import { toggleHelp } from './keys.js'
import { LOOKS_ONLY, may } from './permissions.js'
import { endHold, makePicture, reveal, revealButton } from './preview.js'
import { onStatus } from './server.js'
import {
  actionMark,
  because,
  drawScore,
  judge,
  onThreshold,
  policyAt,
  scoreBar,
  warningList,
} from './verdict.js'

const UNKNOWN_POLICY = { threshold: 0.5, review_from: 0.2, review_to: 0.8 }

/**
 * Builds the place. `parts` are the elements it fills: stage, verdict, answer. `name` is the
 * slider's. `onAnswer` gets the image and the answer: label, reasons, note, threshold, elapsedMs.
 */
export function makeWorkplace({ parts, name, ids, onAnswer, extra = [] }) {
  let status = null
  let policy = UNKNOWN_POLICY
  let image = null
  let picture = null
  let shownAt = 0

  const verdict = make('section', {
    id: ids?.verdict,
    class: 'verdict',
    'aria-live': 'polite',
    'aria-label': 'Verdict',
  })
  const bar = scoreBar()
  parts.verdict.replaceChildren(verdict, bar)

  const agreeButton = make('button', { id: ids?.agree, class: 'primary', onclick: agree })
  const disagreeButton = make('button', { id: ids?.disagree, onclick: disagree })
  agreeButton.append('Agree', make('kbd', {}, 'A'))
  disagreeButton.append('Disagree', make('kbd', {}, 'X'))
  const formPlace = make('div', { class: 'form-place' })
  const said = make('p', { class: 'saved', role: 'status' })
  const probabilities = make('section', {
    id: ids?.probabilities,
    class: 'probabilities',
    'aria-label': 'Probabilities',
  })
  const helpButton = make('button', { type: 'button', class: 'quiet', onclick: toggleHelp })
  helpButton.append('Keys', make('kbd', {}, '?'))
  parts.answer.replaceChildren(
    make('div', { class: 'buttons answer-buttons' }, agreeButton, disagreeButton),
    formPlace,
    said,
    ...extra,
    probabilities,
    make('div', { class: 'buttons' }, helpButton),
  )

  function show(next) {
    endHold(picture)
    closeForm()
    image = next
    picture = null
    if (image) {
      picture = makePicture(image, 'picture')
      const caption = make('figcaption', {}, describe(image), revealButton(picture))
      parts.stage.replaceChildren(make('figure', {}, picture, caption))
    }
    shownAt = performance.now()
    draw()
  }

  function describe(of) {
    const frame = of.frames > 1 ? `, frame ${of.frame + 1} of ${of.frames}` : ''
    const size = of.width ? `${of.format}, ${of.width} × ${of.height}${frame}` : ''
    return make('span', { class: 'name' }, make('b', {}, of.name), make('span', {}, size))
  }

  function draw() {
    const { label, action } = judge(image, policy)
    agreeButton.disabled = disagreeButton.disabled = !judged()
    drawScore(bar, image?.nsfw_score, policy)
    drawProbabilities()
    if (!image) {
      verdict.replaceChildren(make('p', { class: 'muted' }, 'The verdict appears here.'))
    } else if (image.error) {
      verdict.replaceChildren(actionMark('unavailable'), make('p', {}, image.error.message))
    } else {
      const word = make('b', { class: 'label' }, label)
      const why = make('p', {}, 'The model calls it ', word, `. ${because(action, image, policy)}`)
      const warnings = warningList(image)
      verdict.replaceChildren(actionMark(action), why, ...(warnings ? [warnings] : []))
    }
  }

  function drawProbabilities() {
    if (!judged()) {
      probabilities.replaceChildren()
      return
    }
    const rows = Object.entries(image.probabilities)
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

  const judged = () => Boolean(image && !image.error)
  const modelLabel = () => judge(image, policy).label

  function answer(given) {
    if (!judged()) return
    if (!may('review')) {
      said.replaceChildren(LOOKS_ONLY)
      return
    }
    const elapsedMs = Math.round(performance.now() - shownAt)
    closeForm()
    onAnswer(image, { ...given, threshold: policy.threshold, elapsedMs })
  }

  // With the form open, only the form answers.
  function quick(label) {
    if (judged() && !formPlace.children.length) answer({ label })
  }

  function agree() {
    if (judged()) quick(modelLabel())
  }

  function disagree() {
    openForm()?.focus()
  }

  function openForm() {
    if (!judged() || !may('review')) return null
    const form = answerForm(
      status.reasons,
      { label: opposite(modelLabel()) },
      { onSave: answer, onCancel: closeForm },
    )
    formPlace.replaceChildren(form.form)
    return form
  }

  function closeForm() {
    const focused = formPlace.contains(document.activeElement)
    formPlace.replaceChildren()
    if (focused) agreeButton.focus()
  }

  onThreshold(name, (threshold) => {
    if (!status) return
    policy = policyAt(status.policy, threshold)
    draw()
  })
  onStatus((now) => {
    const same = status?.policy.version === now.policy.version && status?.state === now.state
    status = now
    if (!same) policy = policyAt(now.policy, now.policy.threshold)
    draw()
  })
  draw()

  return {
    show,
    image: () => (judged() ? image : null),
    say: (...nodes) => said.replaceChildren(...nodes),
    keys: {
      a: agree,
      x: disagree,
      1: () => quick('normal'),
      2: () => quick('nsfw'),
      n: () => openForm()?.focusNote(),
      hold: () => {
        const held = picture
        reveal(held)
        return () => endHold(held)
      },
    },
  }
}
