// Pages of the log, from the newest rows to older ones. Each page follows a row of the one before,
// so that it keeps its rows while decisions are added at the top.

/** @typedef {{ before: number | null, below: number | null }} Cursor */

/**
 * Where the next request begins, and which numbers its rows have.
 *
 * A cursor is the id of the decision that a page follows, and how many rows are not above it; null
 * on the first page, and where the rows are not counted.
 */
export function makePages() {
  /** @type {Cursor[]} */
  let cursors = [{ before: null, below: null }]
  const current = () => cursors[cursors.length - 1]
  return {
    get before() {
      return current().before
    },
    get isFirst() {
      return cursors.length === 1
    },
    first() {
      cursors = [{ before: null, below: null }]
    },
    newer() {
      if (cursors.length > 1) cursors.pop()
    },
    /**
     * @param {number} before The id of the last row that was read.
     * @param {number | null} below How many rows follow it.
     */
    older(before, below) {
      cursors.push({ before, below })
    },
    /**
     * The number of the first row on the current page, from 1.
     *
     * @param {number} total Rows that match the filter now.
     */
    firstNumber(total) {
      const { below } = current()
      return below === null ? 1 : Math.max(1, total - below + 1)
    },
  }
}
