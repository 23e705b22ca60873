// The latest answers, each changed or taken back with one click. The last one can be undone for
// as long as the page stays open, then the one before it, and so on.

import { make } from './dom.js'
import { decide, undo } from './server.js'

const SHOWN = 10
const LABELS = ['normal', 'nsfw', 'unsure']

/** A strip of answers. `onUndone` gets the entry whose answer was taken back. */
export function makeStrip({ onUndone = () => {} } = {}) {
  const entries = []
  const list = make('ol', { class: 'strip-list' })
  const element = make(
    'section',
    { class: 'strip', 'aria-label': 'Latest answers' },
    make('h2', {}, 'Latest answers'),
    list,
  )
  draw()

  /** Sends an answer; the entry says how it fares. Resolves to the decision, or null. */
  async function send(image, answer) {
    const entry = { image, answer, state: 'saving', decisions: [] }
    entries.push(entry)
    return await save(entry, answer)
  }

  function save(entry, answer) {
    entry.pending = deliver(entry, answer)
    return entry.pending
  }

  async function deliver(entry, answer) {
    entry.state = 'saving'
    entry.answer = answer
    draw()
    try {
      const decision = await decide(entry.image, answer)
      entry.decisions.push(decision.decision_id)
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

  /** Takes back the last answer. Resolves to a sentence about it. */
  async function undoLast() {
    await Promise.all(entries.map((entry) => entry.pending)) // the last answer may be on its way
    const entry = entries.findLast((candidate) => candidate.decisions.length)
    if (!entry) return 'Nothing to undo.'
    try {
      const standing = await undo(entry.decisions.at(-1))
      entry.decisions.pop()
      entry.label = standing?.reviewer_label
      if (!entry.decisions.length) {
        entries.splice(entries.indexOf(entry), 1)
        onUndone(entry)
      }
      draw()
      return 'Undone. The answer stays in the log, marked as undone.'
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
        make('button', { type: 'button', onclick: () => save(entry, entry.answer) }, 'Save again'),
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
