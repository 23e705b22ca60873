// The undo history: last action first, one undo at a time, never past an action still in flight.

/** @import { Action, MessageLine } from './messageLine.js' */

import { messageOf } from './requests.js'

/**
 * @template T
 * @typedef {(undo: Action) => Promise<T | null>} Undo Takes one action back; null where it was taken
 *   back already. The undo is an action itself, whose outcome can be said.
 */

/**
 * An unlimited history.
 *
 * @template T
 */
export function makeHistory() {
  /** @type {Promise<Undo<T> | null>[]} */
  const steps = []
  /** @type {Promise<T | null>} */
  let undoing = Promise.resolve(null)

  /**
   * Adds an action. `sent` resolves to its undo, or to null when the action failed.
   *
   * @param {Promise<Undo<T> | null>} sent
   */
  function add(sent) {
    steps.push(sent)
  }

  /**
   * @param {Action} action
   * @returns {Promise<T | null>}
   */
  async function undoOne(action) {
    for (let step = steps.pop(); step; step = steps.pop()) {
      const undo = await step
      if (!undo) continue
      try {
        const result = await undo(action)
        if (result !== null) return result
      } catch (error) {
        steps.push(step)
        throw error
      }
    }
    return null
  }

  /**
   * Undoes the last action. Resolves to the result of its undo, or to null without an action.
   *
   * @param {Action} action The undo.
   */
  function undoLast(action) {
    const next = () => undoOne(action)
    undoing = undoing.then(next, next)
    return undoing
  }

  return { add, undoLast }
}

/**
 * The history of what is done to cards; each undo resolves to the card to focus.
 *
 * @template {{ image: { name: string } }} C
 * @param {object} options
 * @param {MessageLine} options.line
 * @param {() => void} options.onChange Called after each undo.
 */
export function makeCardHistory({ line, onChange }) {
  /** @type {ReturnType<typeof makeHistory<C>>} */
  const history = makeHistory()

  /**
   * Remembers that the reviewer skipped a card.
   *
   * @param {C} card
   */
  function skip(card) {
    history.add(
      Promise.resolve(async (action) => {
        action.done(`The skip is undone: ${card.image.name}.`)
        return card
      }),
    )
  }

  /** Undoes what was done last. Resolves to the card to focus, or undefined. */
  async function undoLast() {
    const action = line.begin()
    try {
      const card = await history.undoLast(action)
      if (!card) action.done('Nothing to undo.')
      return card ?? undefined
    } catch (error) {
      line.say(`Not undone. ${messageOf(error)}`)
      return undefined
    } finally {
      onChange()
    }
  }

  return { add: history.add, skip, undoLast }
}
