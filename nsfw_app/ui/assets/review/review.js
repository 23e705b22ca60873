// The Review tab: one image that the reviewer adds.

/** @import { Image, NewDecision } from '../shared/server.js' */

import { reasonWord } from '../shared/decisionForm.js'
import { make, regionOf } from '../shared/dom.js'
import { fillDropZone } from '../shared/dropZone.js'
import { useKeys } from '../shared/keys.js'
import { makeRecentDecisions } from '../shared/recentDecisions.js'
import { makeReviewPanel } from '../shared/reviewPanel.js'
import { addImage, messageOf, requestSecondOpinion } from '../shared/server.js'

const SAMPLES = [
  ['cat.jpg', 'A cat'],
  ['coffee.jpg', 'A cup of coffee'],
  ['astronaut.jpg', 'An astronaut'],
]

/**
 * Builds the tab; `root` is the last of its four regions. The component's value is the threshold.
 *
 * @param {HTMLElement} root
 * @param {{ props: { value: unknown }, watch: (name: string, listener: () => void) => void }} component
 */
export async function mount(root, { props, watch }) {
  const [input, stage, verdict] = await Promise.all(
    ['image-input', 'review-preview', 'review-verdict'].map(regionOf),
  )
  const recent = makeRecentDecisions({ tab: 'review', onOpen: (image) => panel.show(image) })
  const panel = makeReviewPanel({
    parts: { stage, verdict, decision: root },
    ids: {
      verdict: 'verdict',
      probabilities: 'probabilities',
      agree: 'agree',
      disagree: 'disagree',
    },
    extra: [recent.element],
    onDecision: save,
  })
  let saving = false
  let latest = 0

  /**
   * @param {Image} image
   * @param {NewDecision} decision
   */
  async function save(image, decision) {
    if (saving) return
    saving = true
    panel.say('Saving')
    const recorded = await recent.send(image, decision)
    saving = false
    if (!recorded) {
      panel.say('Not saved; see below.')
      return
    }
    const model = recorded.agrees
      ? 'the model agrees'
      : `the model's label is ${recorded.model_label}`
    const reasons = recorded.reasons.length
      ? ` Reasons: ${recorded.reasons.map(reasonWord).join(', ')}.`
      : ''
    panel.say(
      `Saved: ${recorded.reviewer_label}, ${model} (score ${recorded.nsfw_score.toFixed(3)}, ` +
        `threshold ${recorded.threshold.toFixed(2)}, ${recorded.model}).${reasons} `,
      make('button', { type: 'button', class: 'link', onclick: undoLast }, 'Undo'),
    )
  }

  async function undoLast() {
    panel.say(await recent.undoLast())
  }

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
      if (own === latest) drawNotSent(files, messageOf(error))
    }
  }

  /** @param {File[]} files @param {string} why */
  function drawNotSent(files, why) {
    const retry = () => add(files)
    stage.replaceChildren(
      make(
        'div',
        { class: 'empty', role: 'status' },
        make('p', {}, `${files[0].name} was not sent. ${why}`),
        make('button', { type: 'button', onclick: retry }, 'Retry'),
      ),
    )
  }

  /** @param {string} file */
  async function addSample(file) {
    const response = await fetch(new URL(`samples/${file}`, import.meta.url))
    add([new File([await response.blob()], file)])
  }

  function drawEmpty() {
    const samples = SAMPLES.map(([file, word]) => {
      const onclick = () => addSample(file)
      return make('button', { type: 'button', class: 'quiet sample', onclick }, word)
    })
    stage.replaceChildren(
      make(
        'div',
        { class: 'empty' },
        make(
          'p',
          {},
          'Drop, paste or choose an image above. It is sent to this server only, and shown blurred.',
        ),
        make('p', {}, 'Or start with a harmless sample:'),
        make('div', { class: 'buttons' }, ...samples),
        make(
          'p',
          { class: 'source' },
          'Cat by Stéfan van der Walt and coffee by Rachel Michetti, both CC0; Eileen Collins by NASA, public domain. ' +
            'All three from scikit-image.',
        ),
      ),
    )
  }

  async function askForSecondOpinion() {
    const image = panel.image()
    if (!image) return
    try {
      await requestSecondOpinion(image)
      panel.say(`${image.name} is in the queue for a second opinion.`)
    } catch (error) {
      panel.say(messageOf(error))
    }
  }

  function skip() {
    latest += 1
    panel.show(null)
    drawEmpty()
  }

  useKeys(root, {
    keys: { ...panel.keys, ' ': skip, f: askForSecondOpinion, undo: undoLast },
    hold: panel.hold,
  })
  watch('value', () => panel.setThreshold(props.value))
  fillDropZone(input, {
    label: 'Drop an image, paste it, or choose a file',
    hint: 'JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC',
    multiple: false,
    onFiles: add,
  })
  drawEmpty()
}
