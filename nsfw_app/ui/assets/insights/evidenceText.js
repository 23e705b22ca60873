// Sentences about what the evidence leaves out, and what has changed since.

/** @import { Comparison } from './driftSeries.js' */
/** @import { Drift } from './evidence.js' */

import { whole } from './finder.js'

const NOT_COMPARED = 'fewer than 100 in the reference, so nothing is compared'

/**
 * @param {{ never_drawn: number, unsettled: number, provisional: number, outdated: boolean, images: number }} summary
 * @returns {string[]}
 */
export function leftOutSentences({ never_drawn: never, unsettled, provisional, outdated, images }) {
  const found = []
  if (never && never < images)
    found.push(
      `${counted(never)} could not have been drawn for review, so nothing is known of ${never === 1 ? 'it' : 'them'}.`,
    )
  if (unsettled)
    found.push(
      `${counted(unsettled)} drawn for review ${unsettled === 1 ? 'has' : 'have'} no settled label yet: the worst case in certificates. ${estimatesCount(unsettled, provisional)}`,
    )
  if (outdated) found.push('Newer images or decisions are being counted.')
  return found
}

/**
 * What estimates make of images without a settled label.
 *
 * @param {number} unsettled
 * @param {number} provisional Those of them with decisions that say nsfw or normal.
 */
function estimatesCount(unsettled, provisional) {
  const like = 'to be like the reviewed ones of similar scores'
  if (!provisional) return `Estimates take ${unsettled === 1 ? 'it' : 'them'} ${like}.`
  const rest = unsettled - provisional
  const others = rest ? `, and take the other ${whole(rest)} ${like}` : ''
  const some = rest ? `${whole(provisional)} of them` : unsettled === 1 ? 'it' : 'them'
  return `Estimates count ${some} with the label of most decisions so far${others}.`
}

/**
 * @param {{ drift: Drift, disagreement_drift: Drift, comparison?: Pick<Comparison, 'accepted'> }} summary
 * @returns {string[]}
 */
export function driftSentences({ drift, disagreement_drift: disagreements, comparison }) {
  const accepted = comparison?.accepted
  return [
    `Scores: ${compared(drift, 'images')}.`,
    `Disagreements with the model in the review band: ${compared(disagreements, 'reviews')}.`,
    'Images that arrived since are compared with those before the latest policy that was saved without an alarm, or with the first week. What was accepted in an alarm is compared with what came after the alarm. If nothing has changed, an alarm is ever raised with a probability of at most 1 %, however often one looks.',
    ...(accepted
      ? [
          `${accepted.author} accepted all images until ${dateTime(accepted.at)}: ${accepted.reason}`,
        ]
      : []),
  ]
}

/** @param {string} at In ISO 8601, UTC. */
const dateTime = (at) => `${at.slice(0, 10)} ${at.slice(11, 16)} UTC`

/** @param {Drift} drift @param {string} what */
function compared({ alarm, reference, recent, compared: known }, what) {
  if (!known) return NOT_COMPARED
  const sizes = `${whole(recent)} recent ${what} compared with ${whole(reference)}`
  return alarm === null
    ? `${sizes}, no change is shown`
    : `${sizes}, a change is shown from recent number ${whole(alarm + 1)} on`
}

/** @param {number} count */
const counted = (count) => `${whole(count)} ${count === 1 ? 'image' : 'images'}`
