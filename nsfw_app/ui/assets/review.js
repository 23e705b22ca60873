// The Review tab: one image, its verdict, and the answer to it.

import { answerForm, opposite, reasonWord } from './answer.js'
import { make, present } from './dom.js'
import { dropZone } from './files.js'
import { toggleHelp, useKeys } from './keys.js'
import { endHold, makePicture, reveal, revealButton } from './picture.js'
import { addImage, decide, onStatus, undo } from './server.js'
import {
  actionMark,
  because,
  drawScore,
  judge,
  onThreshold,
  policyAt,
  scoreBar,
} from './verdict.js'

const SAMPLES = [
  ['cat.jpg', 'A cat'],
  ['coffee.jpg', 'A cup of coffee'],
  ['astronaut.jpg', 'An astronaut'],
]

/** Builds the tab around its four parts; `root` is the last of them. */
export async function mount(root) {
  const [input, stage, verdictRoot] = await Promise.all(
    ['image-input', 'review-picture', 'review-verdict'].map(present),
  )
  let status = null
  let policy = null
  let image = null
  let picture = null
  let saving = false
  const answers = []

  const verdict = make('section', { id: 'verdict', 'aria-live': 'polite', 'aria-label': 'Verdict' })
  const bar = scoreBar()
  verdictRoot.replaceChildren(verdict, bar)

  const agreeButton = make('button', { id: 'agree', class: 'primary', onclick: agree })
  const disagreeButton = make('button', { id: 'disagree', onclick: disagree })
  agreeButton.append('Agree', make('kbd', {}, 'A'))
  disagreeButton.append('Disagree', make('kbd', {}, 'X'))
  const formPlace = make('div', { class: 'form-place' })
  const saved = make('p', { class: 'saved', role: 'status' })
  const probabilities = make('section', { id: 'probabilities', 'aria-label': 'Probabilities' })
  root.replaceChildren(
    make('div', { class: 'buttons answer-buttons' }, agreeButton, disagreeButton),
    formPlace,
    saved,
    probabilities,
    make(
      'button',
      { type: 'button', class: 'quiet help', onclick: toggleHelp },
      'Keys',
      make('kbd', {}, '?'),
    ),
  )

  function drawEmpty() {
    const samples = SAMPLES.map(([file, word]) =>
      make(
        'button',
        { type: 'button', class: 'quiet sample', onclick: () => addSample(file) },
        word,
      ),
    )
    stage.replaceChildren(
      make(
        'div',
        { class: 'empty' },
        make(
          'p',
          {},
          'Drop, paste or choose an image above. It goes to this server and nowhere else, and is shown blurred.',
        ),
        make('p', {}, 'Or begin with a harmless photograph:'),
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

  async function addSample(file) {
    const response = await fetch(new URL(`samples/${file}`, import.meta.url))
    add([new File([await response.blob()], file)])
  }

  async function add(files) {
    if (!status) return
    closeForm()
    image = null
    saved.textContent =
      files.length > 1 ? 'Only the first file was added. The Gallery tab takes many.' : ''
    stage.replaceChildren(
      make('p', { class: 'empty', role: 'status' }, `Looking at ${files[0].name}`),
    )
    draw()
    image = await addImage(files[0], 'review')
    picture = makePicture(image, 'picture')
    stage.replaceChildren(
      make('figure', {}, picture, make('figcaption', {}, caption(image), revealButton(picture))),
    )
    draw()
  }

  function caption(of) {
    const frame = of.frames > 1 ? `, frame ${of.frame + 1} of ${of.frames}` : ''
    const size = of.width ? `${of.format}, ${of.width} × ${of.height}${frame}` : ''
    return make('span', { class: 'name' }, make('b', {}, of.name), make('span', {}, size))
  }

  function draw() {
    const judged = image?.error == null && image != null
    const shown = policy ?? { threshold: 0.5, review_from: 0.2, review_to: 0.8 }
    const { label, action } = judge(image?.nsfw_score, shown)
    agreeButton.disabled = disagreeButton.disabled = !judged
    probabilities.replaceChildren()
    drawScore(bar, image?.nsfw_score, shown)
    if (!image) {
      verdict.replaceChildren(make('p', { class: 'muted' }, 'The verdict appears here.'))
      return
    }
    if (!judged) {
      verdict.replaceChildren(actionMark('unavailable'), make('p', {}, image.error.message))
      return
    }
    verdict.replaceChildren(
      actionMark(action),
      make(
        'p',
        {},
        'The model calls it ',
        make('b', { class: 'label' }, label),
        `. ${because(action, shown)}`,
      ),
    )
    drawProbabilities()
  }

  function drawProbabilities() {
    const rows = Object.entries(image.probabilities)
      .sort(([, a], [, b]) => b - a)
      .map(([name, value]) =>
        make(
          'div',
          { class: 'probability' },
          make('span', {}, name),
          make('meter', { min: 0, max: 1, value, 'aria-label': name }),
          make('output', {}, value.toFixed(3)),
        ),
      )
    probabilities.replaceChildren(make('h3', {}, 'Probabilities'), ...rows)
  }

  function modelLabel() {
    return judge(image.nsfw_score, policy).label
  }

  async function save({ label, reasons = [], note = '' }) {
    if (!image?.sha256 || image.error || saving) return
    saving = true
    saved.textContent = 'Saving'
    const { threshold } = policy
    try {
      const decision = await decide(image, { label, reasons, note, threshold })
      answers.push(decision.decision_id)
      closeForm()
      say(decision)
    } catch (error) {
      saved.textContent = `Not saved. ${error.message}`
    }
    saving = false
  }

  function say(decision) {
    const against = decision.agrees ? 'as the model says' : `the model says ${decision.model_label}`
    const reasons = decision.reasons.length
      ? ` Reasons: ${decision.reasons.map(reasonWord).join(', ')}.`
      : ''
    saved.replaceChildren(
      `Saved: ${decision.reviewer_label}, ${against} (score ${decision.nsfw_score.toFixed(3)}, ` +
        `threshold ${decision.threshold.toFixed(2)}, ${decision.model}).${reasons} `,
      make('button', { type: 'button', class: 'link', onclick: undoLast }, 'Undo'),
    )
  }

  async function undoLast() {
    const last = answers.pop()
    if (!last) {
      saved.textContent = 'Nothing to undo.'
      return
    }
    try {
      await undo(last)
      saved.textContent = 'Undone. The answer stays in the log, marked as undone.'
    } catch (error) {
      answers.push(last)
      saved.textContent = `Not undone. ${error.message}`
    }
  }

  function agree() {
    if (image && !image.error) save({ label: modelLabel() })
  }

  function disagree() {
    if (!image || image.error) return
    openForm({ label: opposite(modelLabel()) }).focus()
  }

  function openForm(given) {
    const form = answerForm(status.reasons, given, { onSave: save, onCancel: closeForm })
    formPlace.replaceChildren(form.form)
    return form
  }

  function closeForm() {
    formPlace.replaceChildren()
  }

  const give = (label) => () => image && !image.error && save({ label })
  useKeys(root, {
    a: agree,
    x: disagree,
    1: give('normal'),
    2: give('nsfw'),
    undo: undoLast,
    n: () => image && !image.error && openForm({ label: opposite(modelLabel()) }).focusNote(),
    hold: () => {
      const heldPicture = picture
      reveal(heldPicture)
      return () => endHold(heldPicture)
    },
  })
  onThreshold('review', (threshold) => {
    if (!status) return
    policy = policyAt(status.policy, threshold)
    draw()
  })
  onStatus((now) => {
    const same =
      status && status.policy.version === now.policy.version && status.state === now.state
    status = now
    if (!same) policy = policyAt(now.policy, now.policy.threshold)
    draw()
  })
  dropZone(input, {
    label: 'Drop an image, paste it, or choose a file',
    hint: 'JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC',
    multiple: false,
    onFiles: add,
  })
  drawEmpty()
  draw()
}
