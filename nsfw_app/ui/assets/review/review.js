// The Review tab: one image that the reviewer adds.

/** @import { Action } from '../shared/messageLine.js' */
/** @import { Decision, Image, NewDecision } from '../shared/server.js' */

import { reasonWord } from '../shared/decisionForm.js'
import { make, regionOf } from '../shared/dom.js'
import { fillDropZone } from '../shared/dropZone.js'
import { makeHistory } from '../shared/history.js'
import { useKeys } from '../shared/keys.js'
import { makeRecentDecisions } from '../shared/recentDecisions.js'
import { makeReviewPanel } from '../shared/reviewPanel.js'
import {
  addImage,
  messageOf,
  requestSecondOpinion,
  withdrawSecondOpinion,
} from '../shared/server.js'
import { makeThresholdLine } from '../shared/thresholdLine.js'
import { makeLegend } from '../shared/verdict.js'
import { makeWelcome } from './welcome.js'

/**
 * Builds the tab; `root` is the last of its four regions. The component's value is the threshold.
 *
 * @param {HTMLElement} root
 * @param {{ props: { value: number | null }, watch: (name: string, listener: () => void) => void }} component
 */
export async function mount(root, { props, watch }) {
  const [input, stage, verdict] = await Promise.all(
    ['image-input', 'review-preview', 'review-verdict'].map(regionOf),
  )
  /** @type {ReturnType<typeof makeHistory<string>>} */
  const history = makeHistory()
  const recent = makeRecentDecisions({
    tab: 'review',
    history,
    onUndone: (image) => panel.setDecision(image, null),
    onRefused: (...refused) => panel.explainRefusal(...refused),
    onStalled: (message) => panel.say(message),
    onOpen: (image) => panel.reopen(image, recent.undoDecision),
  })
  const panel = makeReviewPanel({
    tab: 'review',
    parts: { stage, verdict, decision: root },
    ids: { verdict: 'verdict', probabilities: 'probabilities' },
    extra: [recent.element],
    onDecision: save,
  })
  verdict.querySelector('.score-bar')?.after(makeLegend())
  const thresholdLine = makeThresholdLine('review')
  /** @type {Action | null} */
  let saving = null
  let latest = 0

  /**
   * @param {Image} image
   * @param {NewDecision} decision
   */
  async function save(image, decision) {
    if (saving) {
      saving.pending('Not recorded: the last decision is not saved yet.')
      return
    }
    const action = panel.begin()
    saving = action
    action.pending('Saving')
    const recorded = await recent.send(image, decision)
    saving = null
    if (!recorded) return
    panel.setDecision(image, recorded)
    action.done(
      describeSaved(recorded),
      make('button', { type: 'button', class: 'link', onclick: undoLast }, 'Undo'),
    )
  }

  const undoLast = () => recent.undoLast(panel)

  /** @param {File[]} files */
  async function add(files) {
    panel.say(files.length > 1 ? 'Only the first file was added. The Gallery tab takes many.' : '')
    panel.show(null)
    const progress = `Classifying ${files[0].name}`
    stage.replaceChildren(make('p', { class: 'empty', role: 'status' }, progress))
    const own = ++latest
    try {
      const image = await addImage(files[0], 'review')
      if (own === latest) panel.show(image)
    } catch (error) {
      if (own === latest) explainNotSent(files, error)
    }
  }

  /**
   * @param {File[]} files
   * @param {unknown} error
   */
  function explainNotSent(files, error) {
    const words = `${files[0].name} was not sent. ${messageOf(error)}`
    const again = make('button', { type: 'button', onclick: () => add(files) }, 'Send again')
    stage.replaceChildren(
      make('div', { class: 'empty' }, make('p', { role: 'alert' }, words), again),
    )
  }

  async function askForSecondOpinion() {
    const image = panel.image()
    if (!image) return
    const action = panel.begin()
    const asked = requestSecondOpinion(image).then(
      () => {
        action.done(`${image.name} is in the queue for a second opinion.`)
        return async () => {
          await withdrawSecondOpinion(image)
          return `The request for a second opinion is withdrawn: ${image.name}.`
        }
      },
      (error) => {
        panel.say(messageOf(error))
        return null
      },
    )
    history.add(asked)
  }

  /** Removes the image from the stage, to which undo brings it back. */
  function skip() {
    const image = panel.image()
    latest += 1
    panel.show(null)
    stage.replaceChildren(makeWelcome((file) => add([file])))
    if (!image) return
    history.add(
      Promise.resolve(async () => {
        panel.show(image)
        return `The skip is undone: ${image.name}.`
      }),
    )
    panel.say(`Skipped: ${image.name}.`)
  }

  useKeys(root, {
    keys: { ...panel.keys, ' ': skip, f: askForSecondOpinion, undo: undoLast },
    reveal: panel.reveal,
    stage: panel.stage,
  })
  watch('value', () => {
    panel.setThreshold(props.value)
    thresholdLine.draw(props.value)
  })
  fillDropZone(input, {
    label: 'Drop an image, paste it, or choose a file',
    hint: 'JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC',
    multiple: false,
    onFiles: add,
  })
  skip()
}

/** @param {Decision} recorded */
function describeSaved(recorded) {
  const { reviewer_label: label, model_label, agrees, nsfw_score: score, threshold } = recorded
  const models = agrees ? ', the model agrees' : `, the model's label is ${model_label}`
  const codes = recorded.reasons.map(reasonWord)
  const reasons = codes.length ? ` Reasons: ${codes.join(', ')}.` : ''
  return (
    `Saved: ${label}${label === 'unsure' ? '' : models} (score ${score.toFixed(3)}, ` +
    `threshold ${threshold.toFixed(2)}, ${recorded.model}).${reasons} `
  )
}
