// Answers to a query that can change while they are awaited: only the latest one is shown, and what
// is on screen is known to be of the present query or of another.

/**
 * @template A
 * @param {object} options
 * @param {(query: string) => Promise<A>} options.ask
 * @param {(answer: A, query: string) => string | void} options.show Returns the query by which the
 *   same will be asked for from now on, if that is another one.
 * @param {(state: { waiting: boolean, other: boolean, error: unknown }) => void} options.mark
 *   `waiting` for an answer; `other` if what is on screen is not of this query, so that it must not
 *   be seen under its name; `error` is null, or why the latest answer did not come.
 */
export function makeLatestAnswer({ ask, show, mark }) {
  let number = 0
  let query = ''
  /** @type {string | null} */
  let shown = null

  /** @param {string} next */
  async function load(next) {
    const mine = ++number
    query = next
    mark({ waiting: true, other: shown !== query, error: null })
    let answer
    try {
      answer = await ask(next)
    } catch (error) {
      if (mine === number) mark({ waiting: false, other: shown !== next, error })
      return
    }
    if (mine !== number) return
    shown = show(answer, next) ?? next
    mark({ waiting: false, other: false, error: null })
  }

  return {
    load,
    /** Asks the same again, after an error for example. */
    again: () => load(query),
  }
}
