// The recent decisions, each changed or undone with one click. Undo reaches back to the first
// decision of the visit.

/** @import { Undo } from './history.js' */
/** @import { Label } from './policy.js' */
/** @import { Decision, Image, NewDecision } from './server.js' */

import { make } from './dom.js'
import { makeHistory } from './history.js'
import { LABELS } from './policy.js'
import { decide, messageOf, undo } from './server.js'

const MAX_SHOWN = 10

/**
 * @typedef {object} Entry
 * @property {Image} image
 * @property {NewDecision} decision As sent last.
 * @property {'saving' | 'saved' | 'failed'} state
 * @property {number} inForce How many of its decisions were recorded and not undone.
 * @property {Label} [label] As recorded last.
 * @property {string} [message] Why it was not saved.
 */

/**
 * Creates the list. `onUndone` is called with the image whose last decision was undone.
 *
 * @param {{ onUndone?: (image: Image) => void }} [handlers]
 */
export function makeRecentDecisions({ onUndone = () => {} } = {}) {
  /** @type {Entry[]} */
  const entries = []
  /** @type {ReturnType<typeof makeHistory<string>>} */
  const history = makeHistory()
  const list = make('ol', { class: 'recent-list' })
  const element = make(
    'section',
    { class: 'recent-decisions', 'aria-label': 'Recent decisions' },
    make('h2', {}, 'Recent decisions'),
    list,
  )
  draw()

  /**
   * Sends a decision. Resolves to what was recorded, or to null when it was not saved.
   *
   * @param {Image} image
   * @param {NewDecision} decision
   */
  function send(image, decision) {
    /** @type {Entry} */
    const entry = { image, decision, state: 'saving', inForce: 0 }
    entries.push(entry)
    return save(entry, decision)
  }

  /**
   * A retry keeps its nonce, so that it is recorded once.
   *
   * @param {Entry} entry
   * @param {NewDecision} decision
   * @param {string} [nonce]
   */
  function save(entry, decision, nonce = crypto.randomUUID()) {
    const sent = record(entry, { ...decision, nonce })
    history.add(sent.then((recorded) => recorded && undoOf(entry, recorded)))
    return sent
  }

  /**
   * @param {Entry} entry
   * @param {NewDecision} decision
   */
  async function record(entry, decision) {
    entry.state = 'saving'
    entry.decision = decision
    draw()
    try {
      const recorded = await decide(entry.image, decision)
      entry.inForce += 1
      entry.label = recorded.reviewer_label
      entry.state = 'saved'
      return recorded
    } catch (error) {
      entry.state = 'failed'
      entry.message = messageOf(error)
      return null
    } finally {
      draw()
    }
  }

  /**
   * @param {Entry} entry
   * @param {Decision} recorded
   * @returns {Undo<string>}
   */
  function undoOf(entry, recorded) {
    return async () => {
      const standing = await undo(recorded.decision_id)
      entry.inForce -= 1
      entry.label = standing?.reviewer_label
      if (!entry.inForce) {
        entries.splice(entries.indexOf(entry), 1)
        onUndone(entry.image)
      }
      draw()
      return 'Undone. The decision stays in the log, marked as undone.'
    }
  }

  /** Undoes the last decision. Resolves to a status message. */
  async function undoLast() {
    try {
      return (await history.undoLast()) ?? 'Nothing to undo.'
    } catch (error) {
      return `Not undone. ${messageOf(error)}`
    }
  }

  /**
   * Releases the placeholder and file of an entry that is no longer shown.
   *
   * @param {Entry | undefined} entry
   */
  function releaseImage(entry) {
    if (entry?.state !== 'saved') return
    const { entry_id, name, sha256, model, revision, backend, nsfw_score, label, action } =
      entry.image
    const identity = { entry_id, name, sha256, model, revision, backend }
    entry.image = { ...identity, nsfw_score, label, action, error: null }
  }

  function draw() {
    releaseImage(entries.at(-MAX_SHOWN - 1))
    list.replaceChildren(...entries.slice(-MAX_SHOWN).reverse().map(line))
    element.hidden = !entries.length
  }

  /** @param {Entry} entry */
  function line(entry) {
    if (entry.state === 'failed') {
      const retry = () => save(entry, entry.decision, entry.decision.nonce)
      return make(
        'li',
        { class: 'failed' },
        make('span', { class: 'recent-name' }, entry.image.name),
        make('span', {}, `Not saved. ${entry.message}`),
        make('button', { type: 'button', onclick: retry }, 'Save again'),
      )
    }
    const current = entry.label ?? entry.decision.label
    /** @param {Label} label */
    const change = (label) =>
      make(
        'button',
        {
          type: 'button',
          class: 'quick',
          'aria-pressed': String(current === label),
          disabled: entry.state === 'saving',
          onclick: () => label !== entry.label && save(entry, { ...entry.decision, label }),
        },
        label,
      )
    return make(
      'li',
      {},
      make('span', { class: 'recent-name', title: entry.image.name }, entry.image.name),
      make('span', { class: 'recent-labels' }, ...LABELS.map(change)),
    )
  }

  return { element, send, undoLast }
}
