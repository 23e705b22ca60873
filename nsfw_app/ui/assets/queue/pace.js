// How many images this reviewer decided since the page was opened, and how fast. No DOM.

const WINDOW_MS = 600_000 // the rate is that of the last ten minutes
const MIN_MS = 15_000 // a rate of a shorter time says nothing

/** Counts decisions; an undone one no longer counts. */
export function makePace() {
  /** @type {number[]} When, in ms. */
  const times = []
  return {
    /** @param {number} now */
    add: (now) => times.push(now),
    undo: () => times.pop(),
    get decided() {
      return times.length
    },
    /**
     * Decisions per minute; null while too few.
     *
     * @param {number} now
     */
    perMinute(now) {
      const lately = times.filter((time) => now - time <= WINDOW_MS)
      const elapsed = lately.length ? now - lately[0] : 0
      return lately.length < 2 || elapsed < MIN_MS ? null : (60_000 * lately.length) / elapsed
    },
  }
}

/**
 * A length of time as text, rounded down to its largest unit.
 *
 * @param {number} ms
 */
export function duration(ms) {
  const minutes = Math.floor(ms / 60_000)
  if (minutes < 1) return 'under a minute'
  if (minutes < 60) return `${minutes} min`
  const hours = Math.floor(minutes / 60)
  return hours < 48 ? `${hours} h` : `${Math.floor(hours / 24)} days`
}
