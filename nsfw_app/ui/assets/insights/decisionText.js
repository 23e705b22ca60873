// Sentences and shares of decisions that are counted.

import { whole } from './finder.js'

/** @typedef {{ name: string, decisions: number, false_negatives: number, false_positives: number, unsure: number }} Group */

export const NONE = 'No decision of this selection counts.'

/**
 * What is counted, and what is not.
 *
 * @param {{ total: Group, waiting: number }} counts
 */
export function countSentences({ total, waiting }) {
  const { decisions, false_negatives: missed, false_positives: wrong, unsure } = total
  const found = decisions
    ? `Decisions: ${whole(decisions)}, unweighted. Nsfw where the model said normal: ${whole(missed)}; normal where it said nsfw: ${whole(wrong)}; unsure: ${whole(unsure)}. Drawn and chosen images count alike, so these are not rates of all images.`
    : NONE
  return waiting
    ? [
        found,
        `Not counted, in any period: decisions about images that wait for another one, ${whole(waiting)}.`,
      ]
    : [found]
}

/**
 * Of decisions that are normal or nsfw, those that differ from the model; null without any.
 *
 * @param {Group} group
 */
export function shareThatDiffers({ decisions, false_negatives, false_positives, unsure }) {
  const sure = decisions - unsure
  return sure ? (false_negatives + false_positives) / sure : null
}
