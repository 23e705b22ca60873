// The latest answers, each changed or taken back with one click. The last one can be undone for
// as long as the page stays open, then the one before it, and so on.

import { make } from './dom.js'
import { makeHistory } from './history.js'
import { decide, undo } from './server.js'

const SHOWN = 10
const LABELS = ['normal', 'nsfw', 'unsure']

/** A strip of answers. `onUndone` gets the entry whose answer was taken back. */
export function makeStrip({ onUndone = () => {} } = {}) {
  const entries = []
  const history = makeHistory()
  const list = make('ol', { class: 'strip-list' })
  const element = make(
    'section',
    { class: 'strip', 'aria-label': 'Latest answers' },
    make('h2', {}, 'Latest answers'),
    list,
  )
  draw()

  /** Sends an answer; the entry says how it fares. Resolves to the decision, or null. */
  function send(image, answer) {
    const entry = { image, answer, state: 'saving', answers: 0 }
    entries.push(entry)
    return save(entry, answer)
  }

  // A request that is repeated keeps its nonce, so that it is recorded once.
  function save(entry, answer, nonce = crypto.randomUUID()) {
    const sent = deliver(entry, { ...answer, nonce })
    history.add(sent.then((decision) => decision && (() => takeBack(entry, decision))))
    return sent
  }

  async function deliver(entry, answer) {
    entry.state = 'saving'
    entry.answer = answer
    draw()
    try {
      const decision = await decide(entry.image, answer)
      entry.answers += 1
      entry.label = decision.reviewer_label
      entry.state = 'saved'
      return decision
    } catch (error) {
      entry.state = 'failed'
      entry.message = error.message
      return null
    } finally {
      draw()
    }
  }

  async function takeBack(entry, decision) {
    const standing = await undo(decision.decision_id)
    entry.answers -= 1
    entry.label = standing?.reviewer_label
    if (!entry.answers) {
      entries.splice(entries.indexOf(entry), 1)
      onUndone(entry)
    }
    draw()
    return 'Undone. The answer stays in the log, marked as undone.'
  }

  /** Takes back the last answer. Resolves to a sentence about it. */
  async function undoLast() {
    try {
      return (await history.undoLast()) ?? 'Nothing to undo.'
    } catch (error) {
      return `Not undone. ${error.message}`
    }
  }

  // Undo needs of an older answer only which image it was about, not how that looked.
  function forgetLooks(entry) {
    if (entry?.state !== 'saved') return
    const { entry_id, name, sha256, model, revision, backend } = entry.image
    entry.image = { entry_id, name, sha256, model, revision, backend }
  }

  function draw() {
    forgetLooks(entries.at(-SHOWN - 1))
    list.replaceChildren(...entries.slice(-SHOWN).reverse().map(line))
    element.hidden = !entries.length
  }

  function line(entry) {
    if (entry.state === 'failed') {
      return make(
        'li',
        { class: 'failed' },
        make('span', { class: 'strip-name' }, entry.image.name),
        make('span', {}, `Not saved. ${entry.message}`),
        make(
          'button',
          { type: 'button', onclick: () => save(entry, entry.answer, entry.answer.nonce) },
          'Save again',
        ),
      )
    }
    const change = (label) =>
      make(
        'button',
        {
          type: 'button',
          class: 'quick',
          'aria-pressed': String((entry.label ?? entry.answer.label) === label),
          disabled: entry.state === 'saving',
          onclick: () => label !== entry.label && save(entry, { ...entry.answer, label }),
        },
        label,
      )
    return make(
      'li',
      {},
      make('span', { class: 'strip-name', title: entry.image.name }, entry.image.name),
      make('span', { class: 'strip-labels' }, ...LABELS.map(change)),
    )
  }

  return { element, send, undoLast }
}
