// The scales of charts by date.

/** @typedef {{ date: string, value: number | null, lower?: number, upper?: number }} DatedPoint */

const DAY_MS = 86_400_000
const LEAST_TOP = 0.05 // of a chart of shares

/** @param {string} date Such as 2026-01-31, in UTC. */
export const dayNumber = (date) => Date.parse(`${date}T00:00:00Z`) / DAY_MS

/** @param {number} day */
export const dateOf = (day) => new Date(day * DAY_MS).toISOString().slice(0, 10)

/**
 * The upper end of a chart of shares: twice the largest one, so that wide intervals of single days
 * do not flatten the others.
 *
 * @param {DatedPoint[]} points
 */
export const topOf = (points) =>
  Math.min(1, Math.max(LEAST_TOP, ...points.map(({ value }) => 2 * (value ?? 0))))
