// The message line of a tab: it shows the outcome of the newest action. Replies arrive in any order,
// and a late one about an earlier action does not replace what was said since.

/** @typedef {(...words: (Node | string)[]) => void} Say */

/**
 * - `done` says what became of an action; left out where a newer action has spoken since.
 * - `pending` says that it is not finished; its outcome is the newest then.
 *
 * @typedef {{ done: Say, pending: Say }} Action
 */

/** @typedef {ReturnType<typeof makeMessageLine>} MessageLine */

/**
 * `say` is for what is final at once: the reply to a key, and each failure, however late it is.
 *
 * @param {Say} show
 */
export function makeMessageLine(show) {
  let started = 0
  let shown = 0 // the action that spoke last

  /** @returns {Action} */
  function begin() {
    started += 1
    let own = started
    return {
      done(...words) {
        if (own < shown) return
        shown = own
        show(...words)
      },
      pending(...words) {
        started += 1
        own = started
        shown = own
        show(...words)
      },
    }
  }

  /** @type {Say} */
  const say = (...words) => begin().pending(...words)

  return { begin, say }
}
