// The series of the drift charts without the charts.

/** @import { Row } from './csv.js' */
/** @import { Interval } from './finder.js' */

/**
 * @typedef {object} Comparison Counts are by equal parts of the score.
 * @property {string | null} reference_until
 * @property {number[]} reference_scores
 * @property {string | null} week_start
 * @property {number[]} week_scores
 * @property {{ start: string, disagreements: Interval }[]} weeks By the date of their Monday.
 * @property {{ at: string, author: string, reason: string } | null} accepted The latest accepted reference.
 */

/**
 * Shares of the images; null where there are none.
 *
 * @param {number[]} counts
 */
export function sharesOf(counts) {
  const total = counts.reduce((sum, count) => sum + count, 0)
  return counts.map((count) => (total ? count / total : null))
}

/** Bounds of each part of the score, with counts and shares. @param {Comparison} comparison @returns {Row[]} */
export function scoreRows({ reference_scores: reference, week_scores: week }) {
  const [before, now] = [sharesOf(reference), sharesOf(week)]
  return week.map((count, at) => [
    at / week.length,
    (at + 1) / week.length,
    count,
    now[at],
    reference[at],
    before[at],
  ])
}

/**
 * By how much the two distributions differ: the share of images that would have to move.
 *
 * @param {Comparison} comparison
 */
export function distance({ reference_scores: reference, week_scores: week }) {
  const [before, now] = [sharesOf(reference), sharesOf(week)]
  if (now.includes(null) || before.includes(null)) return null
  let apart = 0
  for (const [at, share] of now.entries()) apart += Math.abs((share ?? 0) - (before[at] ?? 0)) / 2
  return apart
}
