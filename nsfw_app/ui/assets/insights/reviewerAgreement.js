// Agreement of reviewers with each other, in the selection of the filters.

import { make } from '../shared/dom.js'
import { dataTable } from './dataTable.js'
import { whole } from './finder.js'

/** @typedef {{ part: number, whole: number }} Share */
/** @typedef {{ value: number | null, same: Share, images: number }} Agreement */
/** @typedef {{ reviewers: string[], kappa: Agreement }} Pair */
/** @typedef {{ alpha: Agreement, pairs: Pair[], all_pairs: number }} ReviewerAgreement */

const WAITING =
  'Images that wait for another decision are not in it yet. Disputed ones are among them, so that the agreement looks better than it is.'

/** @param {ReviewerAgreement} agreement @param {number} waiting Decisions that are left out. */
export function drawReviewerAgreement(agreement, waiting) {
  return [
    make('h3', {}, 'Agreement between reviewers'),
    drawAlpha(agreement.alpha),
    ...(waiting ? [make('p', { class: 'muted' }, WAITING)] : []),
    ...drawPairs(agreement),
  ]
}

/** @param {Agreement} alpha */
function drawAlpha(alpha) {
  if (!alpha.same.whole)
    return make(
      'p',
      {},
      'Not enough data: no image has decisions from two reviewers in this selection. ' +
        'Request a second opinion on an image, or set NSFW_ANSWERS to two decisions, and have another reviewer decide it.',
    )
  const basis = `${counted(alpha.same.whole, 'pair')} of decisions about ${counted(alpha.images, 'image')}`
  if (alpha.value === null)
    return make(
      'p',
      {},
      `Not enough data: all ${basis} use one label, and alpha is undefined until a second label is used. ` +
        `Same label: ${share(alpha.same)}. Have two reviewers decide more images.`,
    )
  return make(
    'p',
    { class: 'figure' },
    make('b', {}, alpha.value.toFixed(3)),
    make(
      'span',
      {},
      `Krippendorff's alpha over ${basis}. 1 is full agreement, 0 is agreement by chance. `,
      `Same label: ${share(alpha.same)}.`,
    ),
  )
}

/** @param {ReviewerAgreement} agreement */
function drawPairs({ pairs, all_pairs: all }) {
  if (!pairs.length) return []
  const table = dataTable('Pairs of reviewers', pairs, [
    ['Reviewers', ({ reviewers }) => reviewers.join(' and ')],
    ["Cohen's kappa", ({ kappa }) => kappa.value?.toFixed(3) ?? 'Undefined: one label used'],
    ['Images in common', ({ kappa }) => whole(kappa.images)],
    ['Same label', ({ kappa }) => share(kappa.same)],
  ])
  if (all === pairs.length) return [table]
  const note = `The ${pairs.length} pairs with the most images of ${whole(all)}.`
  return [table, make('p', { class: 'muted' }, note)]
}

/** @param {Share} share */
export const share = ({ part, whole: all }) =>
  `${((100 * part) / all).toFixed(1)} % (${whole(part)} of ${whole(all)})`

/** @param {number} count @param {string} noun */
export const counted = (count, noun) => `${whole(count)} ${noun}${count === 1 ? '' : 's'}`
