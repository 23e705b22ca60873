// Agreement in the Insights tab. Every rate has its count and interval; without data there is a sentence instead.

import { make } from '../shared/dom.js'
import { dataTable } from './dataTable.js'

/** @typedef {{ part: number, whole: number, interval?: [number, number] | null }} Share */
/** @typedef {{ true_positives: number, false_positives: number, false_negatives: number, true_negatives: number }} Confusion */
/** @typedef {{ value: number | null, same: Share, images: number }} Agreement */

/**
 * @typedef {object} ModelRecord
 * @property {string} model
 * @property {string} revision
 * @property {string[]} backends
 * @property {number} threshold
 * @property {Confusion} confusion
 * @property {number} undecided
 * @property {Share} precision
 * @property {Share} recall
 */

/**
 * @typedef {object} ReviewerRecord
 * @property {string} reviewer
 * @property {number} answers
 * @property {number} timed
 * @property {number | null} median_ms
 * @property {Share} with_others
 */

/** @typedef {{ reviewers: string[], kappa: Agreement }} Pair */

/**
 * @typedef {object} ReviewerAgreement
 * @property {Agreement} alpha
 * @property {number} all_pairs
 * @property {Pair[]} pairs
 * @property {ReviewerRecord[]} reviewers
 */

/** @typedef {{ left_out: string, models: ModelRecord[], people: ReviewerAgreement }} Insights */
/** @typedef {(Node | string | null)[]} Nodes */

const REVISION_CHARACTERS = 12
const ALL_PERIODS = 'Of all periods, models and sources; counts of a period are above.'

/**
 * Draws the component's value now and whenever it changes.
 *
 * @param {HTMLElement} root
 * @param {{ props: { value: Insights | null }, watch: (name: string, listener: () => void) => void }} component
 */
export function mount(root, { props, watch }) {
  const draw = () => root.replaceChildren(...drawInsights(props.value))
  watch('value', draw)
  draw()
}

/** @param {Insights | null} value */
function drawInsights(value) {
  if (!value?.models) return [make('p', { class: 'empty', role: 'status' }, 'Loading...')]
  const { left_out, models, people } = value
  const hidden = left_out ? [make('p', { class: 'left-out', role: 'status' }, left_out)] : []
  if (models.length || people.reviewers.length)
    return [...hidden, ...models.map(drawModel), ...drawReviewerAgreement(people)]
  const content = 'This tab compares the model with reviewers, and reviewers with one another.'
  return [
    ...hidden,
    make(
      'div',
      { class: 'empty' },
      make('p', {}, make('b', {}, 'No decisions yet.')),
      make('p', {}, `${content} Agree or disagree with an image in Review or Gallery to start.`),
    ),
  ]
}

/**
 * @param {string} title
 * @param {...(Node | null)} children
 */
function section(title, ...children) {
  const heading = make('h2', {}, title)
  return make('section', { class: 'definition-list insight' }, heading, ...children)
}

/** @param {ModelRecord} record */
function drawModel(record) {
  const { model, revision, backends, threshold, confusion, undecided } = record
  const total = Object.values(confusion).reduce((sum, count) => sum + count, 0)
  const title = `${model} compared with reviewers`
  const left = undecided
    ? make(
        'p',
        { class: 'muted' },
        `Not counted: ${images(undecided)} that reviewers are unsure or disagree about.`,
      )
    : null
  if (!total) {
    const next = 'Decide an image as normal or nsfw in Review or Gallery.'
    return section(title, make('p', {}, `No image is decided yet. ${next}`), left)
  }
  const source = make(
    'p',
    { class: 'muted' },
    `Revision ${revision.slice(0, REVISION_CHARACTERS)}, ${backends.join(', ')}. Labels are computed from the stored scores at the current threshold, ${threshold.toFixed(2)}. `,
    'Images that reviewers chose are not a random sample, so these rates hold for them and not for all uploads.',
  )
  const shares = make(
    'dl',
    { class: 'shares' },
    ...drawShare('Precision', record.precision, {
      meaning: 'Of the images that the model labels nsfw, those that reviewers label nsfw',
      none: 'The model labels none of these images nsfw, so there is nothing to count.',
    }),
    ...drawShare('Recall', record.recall, {
      meaning: 'Of the images that reviewers label nsfw, those that the model labels nsfw',
      none: 'Reviewers label none of these images nsfw, so there is nothing to count.',
    }),
  )
  const columns = make('div', { class: 'insight-columns' }, drawConfusion(confusion), shares)
  return section(title, source, columns, left)
}

/** @param {Confusion} confusion */
function drawConfusion(confusion) {
  /** @param {number} count @param {boolean} agrees */
  const cell = (count, agrees) =>
    make(
      'td',
      { class: agrees ? 'right' : 'wrong' },
      make('b', {}, count),
      make('span', {}, agrees ? 'agree' : 'differ'),
    )
  /** @param {string} label @param {...HTMLElement} cells */
  const row = (label, ...cells) =>
    make('tr', {}, make('th', { scope: 'row' }, `Model: ${label}`), ...cells)
  const { true_positives, false_positives, false_negatives, true_negatives } = confusion
  return make(
    'table',
    { class: 'confusion' },
    make('caption', { class: 'muted' }, 'Images by label'),
    make(
      'thead',
      {},
      make(
        'tr',
        {},
        make('td', {}),
        make('th', { scope: 'col' }, 'Reviewers: nsfw'),
        make('th', { scope: 'col' }, 'Reviewers: normal'),
      ),
    ),
    make(
      'tbody',
      {},
      row('nsfw', cell(true_positives, true), cell(false_positives, false)),
      row('normal', cell(false_negatives, false), cell(true_negatives, true)),
    ),
  )
}

/**
 * A rate with its interval.
 *
 * @param {string} name
 * @param {Share} share
 * @param {{ meaning: string, none: string }} texts
 */
function drawShare(name, share, { meaning, none }) {
  const term = make('dt', {}, name)
  if (!share.interval) return [term, make('dd', {}, none)]
  const [low, high] = share.interval
  const bar = make('div', { class: 'interval', 'aria-hidden': 'true' }, make('i', {}))
  bar.style.setProperty('--low', `${100 * low}%`)
  bar.style.setProperty('--high', `${100 * high}%`)
  bar.style.setProperty('--value', `${(100 * share.part) / share.whole}%`)
  const range = `95 % interval: ${percent(low)} to ${percent(high)}`
  return [
    term,
    make('dd', {}, make('b', {}, counted(share)), bar, make('span', {}, `${meaning}. ${range}.`)),
  ]
}

/** @param {ReviewerAgreement} agreement */
function drawReviewerAgreement(agreement) {
  return [
    section(
      'Agreement between reviewers',
      make('p', { class: 'muted' }, ALL_PERIODS),
      drawAlpha(agreement.alpha),
      ...drawPairs(agreement),
    ),
    section('Reviewers, all periods', drawReviewers(agreement.reviewers)),
  ]
}

/** @param {Agreement} alpha */
function drawAlpha(alpha) {
  if (!alpha.same.whole) {
    return make(
      'p',
      {},
      'Not enough data: no image has decisions from two reviewers. ' +
        'Request a second opinion on an image, or set NSFW_ANSWERS to two decisions, and have another reviewer decide it.',
    )
  }
  const basis = `${pairsOf(alpha.same.whole)} of decisions about ${images(alpha.images)}`
  if (alpha.value === null) {
    return make(
      'p',
      {},
      `Not enough data: all ${basis} use one label, and alpha is undefined until a second label is used. ` +
        `Same label: ${counted(alpha.same)}. Have two reviewers decide more images.`,
    )
  }
  return make(
    'p',
    { class: 'figure' },
    make('b', {}, alpha.value.toFixed(3)),
    make(
      'span',
      {},
      `Krippendorff's alpha over ${basis}. 1 is full agreement, 0 is agreement by chance. `,
      `Same label: ${counted(alpha.same)}.`,
    ),
  )
}

/** @param {ReviewerAgreement} agreement */
function drawPairs({ pairs, all_pairs: all }) {
  if (!pairs.length) return []
  const note =
    all > pairs.length
      ? make('p', { class: 'muted' }, `The ${pairs.length} pairs with the most images of ${all}.`)
      : null
  const table = dataTable('Pairs of reviewers', pairs, [
    ['Reviewers', ({ reviewers }) => reviewers.join(' and ')],
    ["Cohen's kappa", ({ kappa }) => kappa.value?.toFixed(3) ?? 'Undefined: one label used'],
    ['Images in common', ({ kappa }) => String(kappa.images)],
    ['Same label', ({ kappa }) => counted(kappa.same)],
  ])
  return note ? [table, note] : [table]
}

/** @param {ReviewerRecord[]} reviewers */
function drawReviewers(reviewers) {
  return dataTable('Reviewers', reviewers, [
    ['Reviewer', ({ reviewer }) => reviewer],
    ['Decisions in force', ({ answers }) => String(answers)],
    ['Median seconds', medianSeconds],
    [
      'Agrees with others',
      ({ with_others: share }) => (share.whole ? counted(share) : 'No image in common'),
    ],
  ])
}

/** @param {ReviewerRecord} record */
function medianSeconds({ median_ms: median, timed, answers }) {
  if (median === null) return 'No decision was timed'
  const seconds = (median / 1000).toFixed(1)
  return timed === answers ? seconds : `${seconds} (${timed} timed)`
}

/** @param {number} value */
const percent = (value) => `${(100 * value).toFixed(1)} %`
/** @param {Share} share */
const counted = ({ part, whole }) => `${percent(part / whole)} (${part} of ${whole})`
/** @param {number} count */
const images = (count) => (count === 1 ? '1 image' : `${count} images`)
/** @param {number} count */
const pairsOf = (count) => (count === 1 ? '1 pair' : `${count} pairs`)
