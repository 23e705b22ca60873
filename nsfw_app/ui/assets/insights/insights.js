// Decisions as they came, by model. Every rate has its count and interval; without data there is a sentence instead.

import { make } from '../shared/dom.js'

/** @typedef {{ part: number, whole: number, interval?: [number, number] | null }} Share */
/** @typedef {{ true_positives: number, false_positives: number, false_negatives: number, true_negatives: number }} Confusion */

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

/** @typedef {{ left_out: string, models: ModelRecord[] }} Insights */

const REVISION_CHARACTERS = 12

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
  const { left_out, models } = value
  const hidden = left_out ? [make('p', { class: 'left-out', role: 'status' }, left_out)] : []
  if (models.length) return [...hidden, ...models.map(drawModel)]
  return [
    ...hidden,
    make(
      'div',
      { class: 'empty' },
      make('p', {}, make('b', {}, 'No decisions yet.')),
      make(
        'p',
        {},
        'This tab compares the model with reviewers. Agree or disagree with an image in Review or Gallery to start.',
      ),
    ),
  ]
}

/**
 * Closed at first: for rates of all images there are the estimates above.
 *
 * @param {string} title
 * @param {...(Node | null)} children
 */
function section(title, ...children) {
  return make(
    'details',
    { class: 'definition-list insight unweighted' },
    make('summary', {}, title),
    ...children.filter((child) => child !== null),
  )
}

/** @param {ModelRecord} record */
function drawModel(record) {
  const { model, revision, backends, threshold, confusion, undecided } = record
  const total = Object.values(confusion).reduce((sum, count) => sum + count, 0)
  const title = `Decisions as they came, unweighted: ${model}`
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
    'Each decided image counts once, drawn or chosen, with the label that reviewers settled on; of all periods and sources, because the counts are kept for each model only. These are no rates of all images: for those see the estimates at the threshold.',
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

/** @param {number} value */
const percent = (value) => `${(100 * value).toFixed(1)} %`
/** @param {Share} share */
const counted = ({ part, whole }) => `${percent(part / whole)} (${part} of ${whole})`
/** @param {number} count */
const images = (count) => (count === 1 ? '1 image' : `${count} images`)
