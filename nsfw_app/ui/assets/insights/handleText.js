// What a slider of the finder says to screen readers: its number, and what follows from it.

/** @import { Evidence, Handle, Numbers, Targets } from './finder.js' */

import { assess, decimal, percent } from './finder.js'

/**
 * @param {Handle} name
 * @param {Evidence} evidence
 * @param {Numbers} numbers
 * @param {Targets | null} targets
 */
export function handleText(name, evidence, numbers, targets) {
  const text = numbers[name].toFixed(2)
  if (!targets) return text
  const { holds, precision, reviewsADay } = assess(evidence, numbers, targets)
  if (name === 'review_from') return `${text}, ${holds ? 'certified' : 'not certified'}`
  if (name === 'threshold')
    return precision.value === null ? text : `${text}, precision ${percent(precision.value)}`
  return reviewsADay === null ? text : `${text}, about ${decimal(reviewsADay)} reviews a day`
}
