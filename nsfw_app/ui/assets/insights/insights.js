// The Insights tab. A number stands beside the count behind it; where there is none, a sentence.

import { make } from '../shared/dom.js'

const REVISION_CHARACTERS = 12

/** Draws the value now and whenever it changes. */
export function mount(element, props, watch) {
  const draw = () => element.replaceChildren(...parts(props.value))
  watch('value', draw)
  draw()
}

function parts(value) {
  if (!value?.models) return [make('p', { class: 'empty', role: 'status' }, 'Counting the answers')]
  const { models, people } = value
  if (!models.length && !people.reviewers.length) {
    const what =
      'How the model stands against people, and people with one another, is counted here.'
    return [
      make(
        'div',
        { class: 'empty' },
        make('p', {}, make('b', {}, 'No answers yet.')),
        make('p', {}, `${what} Agree or disagree with an image in Review or Gallery to begin.`),
      ),
    ]
  }
  return [...models.map(modelPart), ...peopleParts(people)]
}

function section(title, ...children) {
  return make('section', { class: 'facts insight' }, make('h2', {}, title), ...children)
}

function modelPart(record) {
  const { model, revision, backends, threshold, confusion, undecided } = record
  const counts = Object.values(confusion).reduce((sum, count) => sum + count, 0)
  const title = `${model} against people`
  const shortRevision = revision.slice(0, REVISION_CHARACTERS)
  const under = make(
    'p',
    { class: 'muted' },
    `Revision ${shortRevision}, ${backends.join(', ')}. Every score is judged anew at the threshold in force, ${threshold.toFixed(2)}. `,
    'The images that people answer are not a random sample, so these shares hold for them and not for all uploads.',
  )
  const left = undecided
    ? make(
        'p',
        { class: 'muted' },
        `Not counted: ${images(undecided)} that people are unsure or differ about.`,
      )
    : null
  if (!counts) {
    const next = 'Answer an image with normal or nsfw in Review or Gallery.'
    return section(title, make('p', {}, `No image is decided yet. ${next}`), left)
  }
  return section(
    title,
    under,
    make(
      'div',
      { class: 'insight-columns' },
      confusionTable(confusion),
      make(
        'dl',
        { class: 'shares' },
        ...share('Precision', record.precision, {
          meaning: 'Of what the model calls nsfw, what people call nsfw',
          none: 'The model calls none of these images nsfw, so there is nothing to count.',
        }),
        ...share('Recall', record.recall, {
          meaning: 'Of what people call nsfw, what the model calls nsfw',
          none: 'People call none of these images nsfw, so there is nothing to count.',
        }),
      ),
    ),
    left,
  )
}

function confusionTable(confusion) {
  const line = (name, nsfw, normal) =>
    make(
      'tr',
      {},
      make('th', { scope: 'row' }, `Model says ${name}`),
      ...[nsfw, normal].map(([count, right]) =>
        make(
          'td',
          { class: right ? 'right' : 'wrong' },
          make('b', {}, String(count)),
          make('span', {}, right ? 'alike' : 'differs'),
        ),
      ),
    )
  return make(
    'table',
    { class: 'confusion' },
    make('caption', { class: 'muted' }, 'Images, by what each side says'),
    make(
      'thead',
      {},
      make(
        'tr',
        {},
        make('td', {}),
        make('th', { scope: 'col' }, 'People say nsfw'),
        make('th', { scope: 'col' }, 'People say normal'),
      ),
    ),
    make(
      'tbody',
      {},
      line('nsfw', [confusion.true_positives, true], [confusion.false_positives, false]),
      line('normal', [confusion.false_negatives, false], [confusion.true_negatives, true]),
    ),
  )
}

function share(name, value, { meaning, none }) {
  const term = make('dt', {}, name)
  if (!value.interval) return [term, make('dd', {}, none)]
  const [low, high] = value.interval
  const bar = make('div', { class: 'interval', 'aria-hidden': 'true' }, make('i', {}))
  bar.style.setProperty('--low', `${100 * low}%`)
  bar.style.setProperty('--high', `${100 * high}%`)
  bar.style.setProperty('--value', `${(100 * value.part) / value.whole}%`)
  const range = `95 % interval: ${percent(low)} to ${percent(high)}`
  return [
    term,
    make('dd', {}, make('b', {}, counted(value)), bar, make('span', {}, `${meaning}. ${range}.`)),
  ]
}

function peopleParts(people) {
  return [
    section('People with one another', alphaPart(people.alpha), ...pairsPart(people)),
    section('Reviewers', reviewersTable(people.reviewers)),
  ]
}

function alphaPart(alpha) {
  if (!alpha.same.whole) {
    return make(
      'p',
      {},
      'Too little to compute: no image has answers from two reviewers. ' +
        'Send an image for a second opinion, or ask for two answers in the settings, and have somebody else answer it.',
    )
  }
  const behind = `${pairsOf(alpha.same.whole)} of answers to ${images(alpha.images)}`
  if (alpha.value === null) {
    return make(
      'p',
      {},
      `Too little to compute: all ${behind} use one label, and alpha is not defined until a second label is in use. ` +
        `Same label: ${counted(alpha.same)}. Have two reviewers answer more images.`,
    )
  }
  return make(
    'p',
    { class: 'figure' },
    make('b', {}, alpha.value.toFixed(3)),
    make(
      'span',
      {},
      `Krippendorff's alpha over ${behind}. 1 is full agreement, 0 is what chance would give. `,
      `Same label: ${counted(alpha.same)}.`,
    ),
  )
}

function pairsPart({ pairs, all_pairs: all }) {
  if (!pairs.length) return []
  const note =
    all > pairs.length
      ? make('p', { class: 'muted' }, `The ${pairs.length} pairs with the most images of ${all}.`)
      : null
  return [
    table('Pairs of reviewers', pairs, [
      ['Reviewers', ({ reviewers }) => reviewers.join(' and ')],
      ["Cohen's kappa", ({ kappa }) => kappa.value?.toFixed(3) ?? 'Not defined: one label in use'],
      ['Images in common', ({ kappa }) => String(kappa.images)],
      ['Same label', ({ kappa }) => counted(kappa.same)],
    ]),
    ...(note ? [note] : []),
  ]
}

function reviewersTable(reviewers) {
  return table('Reviewers', reviewers, [
    ['Reviewer', (row) => row.reviewer],
    ['Answers that stand', (row) => String(row.answers)],
    ['Median seconds', pace],
    [
      'Agrees with others',
      ({ with_others: with_ }) => (with_.whole ? counted(with_) : 'No image in common'),
    ],
  ])
}

function pace({ median_ms: median, timed, answers }) {
  if (median === null) return 'No answer was timed'
  const seconds = (median / 1000).toFixed(1)
  return timed === answers ? seconds : `${seconds} (${timed} timed)`
}

function table(label, rows, columns) {
  const titles = columns.map(([title]) => make('th', { scope: 'col' }, title))
  const lines = rows.map((row) =>
    make(
      'tr',
      {},
      ...columns.map(([title, cell]) => make('td', { 'data-title': title }, cell(row))),
    ),
  )
  return make(
    'div',
    { class: 'table', role: 'region', tabindex: '0', 'aria-label': label },
    make('table', {}, make('thead', {}, make('tr', {}, ...titles)), make('tbody', {}, ...lines)),
  )
}

const percent = (value) => `${(100 * value).toFixed(1)} %`
const counted = ({ part, whole }) => `${percent(part / whole)} (${part} of ${whole})`
const images = (count) => (count === 1 ? '1 image' : `${count} images`)
const pairsOf = (count) => (count === 1 ? '1 pair' : `${count} pairs`)
