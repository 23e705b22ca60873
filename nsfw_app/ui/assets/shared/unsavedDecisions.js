// Decisions and training labels that the server has not acknowledged. Those of all tabs pass through
// here, one after the other, so that they are recorded in the order in which they were made.
//
// - A decision is stored in the browser before it is sent and removed once the server recorded it.
// - It is sent with the same nonce until then, so it is recorded once.
// - It is sent under the name of the reviewer who made it, or not at all.
// - One that the server refuses is not sent again by itself: it is kept with the reason.

import { RequestError, Unreachable } from './requests.js'
import { signal } from './signal.js'

const RETRY_MS = [400, 1200, 3000, 5000] // the last one repeats
const MAX_AHEAD = 5 // decisions that may wait before the desk stops advancing
const MAX_SERVER_ERRORS = 3 // an internal error may be this decision's own fault
const TRAINING = /^training\/\d+$/
const TEMPORARY = [401, 408, 429, 502, 503, 504]

/** @import { Label } from './policy.js' */

/**
 * @typedef {object} Answer What the server is sent about one image.
 * @property {string} nonce
 * @property {string} image_sha256
 * @property {string} name
 * @property {Label | null} label Null excludes the image from the training labels.
 * @property {boolean} [seen]
 * @property {number | null} [seen_ms]
 * @property {string[]} [categories] Absent where the reviewer was not asked.
 */

/**
 * @typedef {`training/${number}`} TrainingPath The training label of a prediction.
 */
/** @typedef {'decisions' | 'batches' | TrainingPath} Path */
/**
 * @typedef {object} Unsaved One request: a decision, a batch of decisions, or a training label.
 * @property {string} id
 * @property {string} reviewer Who decided.
 * @property {Path} path
 * @property {Answer[]} answers
 * @property {'waiting' | 'refused'} state
 * @property {string} message Why it is not saved; empty before the first failure.
 * @property {number} attempts That failed.
 */

/**
 * @param {object} options
 * @param {(item: Unsaved) => Promise<any>} options.post Sends once; resolves to what was recorded.
 * @param {(reviewer: string) => any} options.read What the browser stores for a reviewer.
 * @param {(reviewer: string, items: Unsaved[]) => void} options.write
 * @param {(ms: number, then: () => void) => () => void} options.later Returns a function that cancels.
 */
export function makeUnsavedDecisions({ post, read, write, later }) {
  /** The items of the present reviewer, oldest first. */
  const items = signal(/** @type {Unsaved[]} */ ([]))
  /** @type {Map<string, { resolve: (recorded: any) => void, reject: (error: unknown) => void }>} */
  const callers = new Map()
  /** @type {string | null} */
  let reviewer = null
  let sending = false
  let failures = 0
  let cancel = () => {}

  /**
   * Changes this item only: another window of the reviewer stores its own.
   *
   * @param {Unsaved} item
   * @param {Unsaved | null} next Null removes it.
   */
  function replace(item, next) {
    /** @param {Unsaved[]} list */
    const replaced = (list) => list.flatMap((it) => (it.id === item.id ? (next ?? []) : it))
    write(item.reviewer, replaced(valid(read(item.reviewer), item.reviewer)))
    if (item.reviewer === reviewer) items.value = replaced(items.value)
  }

  /**
   * Records a decision, a batch or a training label. Resolves to what the server recorded, however
   * long that takes.
   *
   * @param {Path} path
   * @param {Answer[]} answers
   * @returns {Promise<any>} Rejects when the server refuses.
   */
  function submit(path, answers) {
    if (reviewer === null) return Promise.reject(new Error('The page is still loading. Try again.'))
    const id = answers[0].nonce
    /** @type {Unsaved} */
    const item = { id, reviewer, path, answers, state: 'waiting', message: '', attempts: 0 }
    write(reviewer, [...valid(read(reviewer), reviewer), item])
    items.value = [...items.value, item]
    const recorded = new Promise((resolve, reject) => callers.set(id, { resolve, reject }))
    send()
    return recorded
  }

  async function send() {
    if (sending) return
    sending = true
    cancel()
    try {
      for (;;) {
        const item = items.value.find(({ state }) => state === 'waiting')
        if (!item) return
        try {
          finish(item, await post(item))
        } catch (error) {
          if (!fail(item, error)) return
        }
      }
    } finally {
      sending = false
    }
  }

  /** @param {Unsaved} item @param {any} recorded */
  function finish(item, recorded) {
    failures = 0
    replace(item, null)
    const about = new Set(item.answers.map(({ image_sha256 }) => image_sha256))
    for (const other of items.value) {
      const replaced = other.answers.every(({ image_sha256 }) => about.has(image_sha256))
      const alike = isTraining(other) === isTraining(item)
      if (other.state === 'refused' && replaced && alike) replace(other, null)
    }
    settle(item, 'resolve', recorded)
  }

  /**
   * Keeps an item that failed. Returns whether the next one can be sent.
   *
   * @param {Unsaved} item
   * @param {unknown} error
   */
  function fail(item, error) {
    const message = error instanceof Error ? error.message : String(error)
    const attempts = item.attempts + 1
    if (isTemporary(error, attempts)) {
      replace(item, { ...item, attempts, message })
      cancel = later(RETRY_MS[Math.min(failures, RETRY_MS.length - 1)], send)
      failures += 1
      return false
    }
    failures = 0
    replace(item, { ...item, attempts, message, state: 'refused' })
    settle(item, 'reject', error)
    return true
  }

  /** @param {Unsaved} item @param {'resolve' | 'reject'} how @param {any} value */
  function settle({ id }, how, value) {
    callers.get(id)?.[how](value)
    callers.delete(id)
  }

  /**
   * Whose decisions are sent from now on. Those of another reviewer stay stored for the next time.
   *
   * @param {string} name
   */
  function setReviewer(name) {
    if (name === reviewer) return
    for (const item of items.value)
      settle(
        item,
        'reject',
        new Error(`Kept in this browser until ${item.reviewer} signs in again.`),
      )
    reviewer = name
    failures = 0
    items.value = valid(read(name), name)
    send()
  }

  return {
    items,
    submit,
    setReviewer,
    /** Sends what is waiting now, without the pause after a failure. */
    retry: send,
    /** Sends a refused item again. @param {Unsaved} item */
    resend(item) {
      replace(item, { ...item, state: 'waiting', attempts: 0 })
      send()
    },
    /** Gives a refused item up. @param {Unsaved} item */
    dismiss(item) {
      replace(item, null)
    },
    /** Whether so many decisions wait that the desk should stay on the present image. */
    get stalled() {
      return countOf(items.value.filter(({ state }) => state === 'waiting')) >= MAX_AHEAD
    },
  }
}

/**
 * The number of decisions, those of batches included.
 *
 * @param {Unsaved[]} items
 */
export const countOf = (items) => items.reduce((sum, { answers }) => sum + answers.length, 0)

/** @param {Unsaved} item */
const isTraining = ({ path }) => TRAINING.test(path)

/**
 * Whether the same request can succeed later.
 *
 * @param {unknown} error
 * @param {number} attempts
 */
function isTemporary(error, attempts) {
  if (error instanceof Unreachable) return true
  if (!(error instanceof RequestError)) return false
  if (error.status === 500) return attempts < MAX_SERVER_ERRORS
  return TEMPORARY.includes(error.status) || error.kind === 'other_reviewer'
}

/**
 * Stored values are not trusted: what is not an item of this reviewer is left out.
 *
 * @param {any} stored
 * @param {string} reviewer
 * @returns {Unsaved[]}
 */
function valid(stored, reviewer) {
  if (!Array.isArray(stored)) return []
  return stored.filter(
    (item) =>
      typeof item?.id === 'string' &&
      item.reviewer === reviewer &&
      (['decisions', 'batches'].includes(item.path) || TRAINING.test(item.path)) &&
      ['waiting', 'refused'].includes(item.state) &&
      Array.isArray(item.answers) &&
      item.answers.length > 0 &&
      item.answers.every((/** @type {any} */ answer) => typeof answer?.nonce === 'string'),
  )
}
