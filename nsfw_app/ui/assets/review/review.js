// The Review tab: one image, brought by the reviewer.

import { reasonWord } from '../shared/decisionForm.js'
import { make, present } from '../shared/dom.js'
import { dropZone } from '../shared/dropZone.js'
import { useKeys } from '../shared/keys.js'
import { makeStrip } from '../shared/recentDecisions.js'
import { makeWorkplace } from '../shared/reviewPanel.js'
import { addImage, secondOpinion } from '../shared/server.js'

const SAMPLES = [
  ['cat.jpg', 'A cat'],
  ['coffee.jpg', 'A cup of coffee'],
  ['astronaut.jpg', 'An astronaut'],
]

/** Builds the tab around its four parts; `root` is the last of them. */
export async function mount(root) {
  const [input, stage, verdict] = await Promise.all(
    ['image-input', 'review-picture', 'review-verdict'].map(present),
  )
  const strip = makeStrip()
  const place = makeWorkplace({
    parts: { stage, verdict, answer: root },
    name: 'review',
    ids: {
      verdict: 'verdict',
      probabilities: 'probabilities',
      agree: 'agree',
      disagree: 'disagree',
    },
    extra: [strip.element],
    onAnswer: save,
  })
  let saving = false
  let latest = 0

  async function save(image, answer) {
    if (saving) return
    saving = true
    place.say('Saving')
    const decision = await strip.send(image, answer)
    saving = false
    if (!decision) {
      place.say('Not saved; see below.')
      return
    }
    const against = decision.agrees ? 'as the model says' : `the model says ${decision.model_label}`
    const reasons = decision.reasons.length
      ? ` Reasons: ${decision.reasons.map(reasonWord).join(', ')}.`
      : ''
    place.say(
      `Saved: ${decision.reviewer_label}, ${against} (score ${decision.nsfw_score.toFixed(3)}, ` +
        `threshold ${decision.threshold.toFixed(2)}, ${decision.model}).${reasons} `,
      make('button', { type: 'button', class: 'link', onclick: undoLast }, 'Undo'),
    )
  }

  async function undoLast() {
    place.say(await strip.undoLast())
  }

  async function add(files) {
    place.say(files.length > 1 ? 'Only the first file was added. The Gallery tab takes many.' : '')
    place.show(null)
    const waiting = `Looking at ${files[0].name}`
    stage.replaceChildren(make('p', { class: 'empty', role: 'status' }, waiting))
    const mine = ++latest
    const image = await addImage(files[0], 'review')
    if (mine === latest) place.show(image)
  }

  async function addSample(file) {
    const response = await fetch(new URL(`samples/${file}`, import.meta.url))
    add([new File([await response.blob()], file)])
  }

  function drawEmpty() {
    const sample = ([file, word]) =>
      make(
        'button',
        { type: 'button', class: 'quiet sample', onclick: () => addSample(file) },
        word,
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
        make('div', { class: 'buttons' }, ...SAMPLES.map(sample)),
        make(
          'p',
          { class: 'source' },
          'Cat by Stéfan van der Walt and coffee by Rachel Michetti, both CC0; Eileen Collins by NASA, public domain. ' +
            'All three from scikit-image.',
        ),
      ),
    )
  }

  async function askOthers() {
    const image = place.image()
    if (!image) return
    try {
      await secondOpinion(image)
      place.say(`${image.name} waits in the queue for a second opinion.`)
    } catch (error) {
      place.say(error.message)
    }
  }

  function skip() {
    latest += 1
    place.show(null)
    drawEmpty()
  }

  useKeys(root, { ...place.keys, ' ': skip, f: askOthers, undo: undoLast })
  dropZone(input, {
    label: 'Drop an image, paste it, or choose a file',
    hint: 'JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC',
    multiple: false,
    onFiles: add,
  })
  drawEmpty()
}
