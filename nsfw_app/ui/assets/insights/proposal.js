// Numbers that meet the targets, or which target cannot be met and by how much.

/** @import { Evidence, Numbers, Targets } from './finder.js' */

import { certifiedIndex, decimal, moved, percent, reviewsADay, whole } from './finder.js'

/**
 * As much is allowed as is certified, the lowest threshold has the precision also at the lower end of
 * its range, and the band is no wider than the reviews of a day. Where a target cannot be met, there are no numbers.
 *
 * @param {Evidence} evidence
 * @param {Numbers} numbers From which to start: those of the policy.
 * @param {Targets} targets
 * @returns {{ numbers: Numbers | null, unmet: string[] }}
 */
export function proposal({ curve, days }, numbers, targets) {
  const unmet = []
  const index = certifiedIndex(curve.bounds, targets.recall)
  let found = index === null ? numbers : moved(numbers, 'review_from', curve.thresholds[index])
  if (index === null) unmet.push(missingRecall(curve.bounds[1], targets.recall))
  if (targets.precision !== null) {
    const wanted = targets.precision
    const from = found.review_from
    const first = curve.thresholds.find(
      (threshold, at) => threshold >= from && curve.precision[at].lower >= wanted,
    )
    if (first === undefined) {
      const known = curve.precision.filter((_, at) => curve.thresholds[at] >= from)
      unmet.push(missingPrecision(Math.max(0, ...known.map(({ lower }) => lower)), wanted))
    } else found = moved(found, 'threshold', first)
  }
  if (targets.reviews !== null) {
    const limit = targets.reviews
    const work = (/** @type {number} */ to) =>
      reviewsADay(curve, days, { ...found, review_to: to }) ?? 0
    const narrower = curve.thresholds.filter((to) => to >= found.threshold && to < found.review_to)
    while (work(found.review_to) > limit && narrower.length)
      found = { ...found, review_to: Number(narrower.pop()) }
    const least = work(found.review_to)
    if (least > limit) unmet.push(tooManyReviews(found, Math.ceil(least), limit))
  }
  return { numbers: unmet.length ? null : found, unmet }
}

/** @param {number} bound The highest one: that of the lowest threshold. @param {number} target */
function missingRecall(bound, target) {
  const shown = bound
    ? `the highest bound is ${percent(bound)}, ${points(target - bound)} less`
    : 'the reviews so far show no bound of 50 % or more'
  return `A recall of at least ${percent(target)} is not certified at any threshold: ${shown}.`
}

/** @param {number} best @param {number} target */
const missingPrecision = (best, target) =>
  `A precision of at least ${percent(target)} is not shown: the highest lower end of its range is ${percent(best)}, ${points(target - best)} less.`

/** @param {Numbers} numbers @param {number} least @param {number} limit */
const tooManyReviews = ({ review_from: from, review_to: to }, least, limit) =>
  `At most ${decimal(limit)} reviews a day cannot be met: about ${whole(least)} come from scores between ${from.toFixed(2)} and ${to.toFixed(2)} and from audits, which is ${decimal(least - limit)} too many.`

/** @param {number} difference Of two shares. */
const points = (difference) => `${Math.max(0.1, Number((100 * difference).toFixed(1)))} points`
