// One explanation at a time: asked for, computed by the server, shown, closed. No DOM.

/** @import { Image } from './server.js' */

import { messageOf } from './requests.js'

/**
 * @typedef {object} Explanation Which cells of an image a score depends on, as the server returns it.
 * @property {'attribution' | 'occlusion' | 'rise'} method
 * @property {number} rows
 * @property {number} columns
 * @property {(number | null)[][]} values Rows of evidence in [0, 1]; null where the model's input
 *   does not reach.
 * @property {boolean[][]} marked Rows; true in the area that was covered for the sentence.
 * @property {boolean} informative False where the map is no better than a random one.
 * @property {number} score Of the pixels that were explained.
 * @property {string} sentence By how much covering the marked area lowers the score.
 * @property {number} [frame] Of an animation.
 */
/**
 * @typedef {object} Answer To a request for an explanation.
 * @property {'running' | 'done' | 'cancelled' | 'failed'} status
 * @property {string} id Of the computation.
 * @property {number} progress In [0, 1].
 * @property {Explanation | null} explanation
 * @property {{ kind: string, message: string } | null} error
 */
/**
 * @typedef {{ phase: 'none' }
 *   | { phase: 'running', image: Image, progress: number }
 *   | { phase: 'done', image: Image, explanation: Explanation }
 *   | { phase: 'failed', image: Image, message: string }} ExplanationState
 */

const POLL_MS = 250

/** @type {ExplanationState} */
export const NOTHING = { phase: 'none' }

/**
 * Requests explanations of the image on screen. Only the latest one is shown; one that was closed
 * while it was computed is cancelled on the server.
 *
 * @param {object} options
 * @param {(image: Image, isWanted: () => boolean) => Promise<Answer>} options.start
 * @param {(id: string, isWanted: () => boolean) => Promise<Answer>} options.poll
 * @param {(id: string) => unknown} options.cancel
 * @param {(ms: number) => Promise<unknown>} options.wait
 * @param {(state: ExplanationState) => void} options.show
 */
export function makeExplanationRequest({ start, poll, cancel, wait, show }) {
  let state = NOTHING
  let opened = 0
  /** The id of what the server computes, once it is known; it is cancelled once. */
  let computed = ''

  /** @param {ExplanationState} next */
  function set(next) {
    state = next
    show(next)
  }

  /** Drops the answers to come, and cancels the computation. */
  function abandon() {
    opened += 1
    if (computed) cancel(computed)
    computed = ''
  }

  /** @param {Image} image */
  async function open(image) {
    abandon()
    const own = opened
    const isLatest = () => own === opened
    set({ phase: 'running', image, progress: 0 })
    try {
      let answer = await start(image, isLatest)
      if (answer.status === 'running') {
        if (isLatest()) computed = answer.id
        else cancel(answer.id)
      }
      while (answer.status === 'running' && isLatest()) {
        set({ phase: 'running', image, progress: answer.progress })
        await wait(POLL_MS)
        if (isLatest()) answer = await poll(answer.id, isLatest)
      }
      if (isLatest()) finish(outcomeOf(image, answer))
    } catch (error) {
      if (isLatest()) finish({ phase: 'failed', image, message: messageOf(error) })
    }
  }

  /** @param {ExplanationState} outcome */
  function finish(outcome) {
    computed = ''
    set(outcome)
  }

  /**
   * Removes the explanation, and cancels its computation.
   *
   * @param {Image} [image] Only if it is about this one; without it, any.
   */
  function close(image) {
    if (state.phase === 'none' || (image && image !== state.image)) return
    abandon()
    set(NOTHING)
  }

  /**
   * Shows the explanation of an image, or removes it. One that failed is requested again.
   *
   * @param {Image} image
   */
  function toggle(image) {
    const isOpen = state.phase !== 'none' && state.phase !== 'failed' && state.image === image
    if (isOpen) close()
    else return open(image)
  }

  return { toggle, close }
}

/**
 * @param {Image} image
 * @param {Answer} answer That is final.
 * @returns {ExplanationState}
 */
function outcomeOf(image, { status, explanation, error }) {
  if (status === 'done' && explanation) return { phase: 'done', image, explanation }
  const message =
    status === 'cancelled' ? 'The computation was cancelled.' : (error?.message ?? 'It failed.')
  return { phase: 'failed', image, message }
}
