// Categories that reviewers named: their agreement with each other, and with the models.

/** @import { CategoryAgreement, CategoryComparison, CategoryRecord, IntervalShare } from './categoryTypes.js' */

import { categoryWord } from '../shared/categories.js'
import { make } from '../shared/dom.js'
import { makeDownloadTable } from './downloadTable.js'
import { percent, whole } from './finder.js'
import { counted, share } from './reviewerAgreement.js'

/** @typedef {CategoryRecord['pairs'][number] & { category: string }} CategoryPair */
/** @typedef {CategoryComparison & { category: string }} Compared */

const UNNAMED = 'No category is named in this selection.'

/** The section, empty until it is shown. */
export function makeCategoryAgreement() {
  const basis = make('p', { class: 'muted' })
  const reviewers = makeDownloadTable({
    title: 'Agreement between reviewers, by category',
    file: 'agreement-by-category',
    cells: /** @type {[string, (row: CategoryRecord) => string][]} */ ([
      ['Category', ({ category }) => categoryWord(category)],
      ['Named in', ({ named }) => withInterval(named)],
      ["Krippendorff's alpha", ({ alpha }) => figure(alpha.value, alpha.same.whole)],
      ['Images in common', ({ alpha }) => whole(alpha.images)],
      ['Same', ({ alpha }) => (alpha.same.whole ? share(alpha.same) : '')],
    ]),
    columns: ['Category', 'Named', 'Decisions', 'Alpha', 'Images in common', 'Same', 'Pairs'],
    fields: ({ category, named, alpha }) => [
      category,
      named.part,
      named.whole,
      alpha.value,
      alpha.images,
      alpha.same.part,
      alpha.same.whole,
    ],
    none: UNNAMED,
  })
  const pairs = makeDownloadTable({
    title: 'Pairs of reviewers, by category',
    file: 'reviewer-pairs-by-category',
    cells: /** @type {[string, (row: CategoryPair) => string][]} */ ([
      ['Category', ({ category }) => categoryWord(category)],
      ['Reviewers', ({ reviewers: names }) => names.join(' and ')],
      ["Cohen's kappa", ({ kappa }) => figure(kappa.value, kappa.same.whole)],
      ['Images in common', ({ kappa }) => whole(kappa.images)],
      ['Same', ({ kappa }) => share(kappa.same)],
    ]),
    columns: ['Category', 'Reviewer', 'Other reviewer', 'Kappa', 'Images in common', 'Same'],
    fields: ({ category, reviewers: [first, second], kappa }) => [
      category,
      first,
      second,
      kappa.value,
      kappa.images,
      kappa.same.part,
    ],
    none: 'No image in common: have two reviewers name the categories of the same images.',
  })
  const cut = make('p', { class: 'muted' })
  const models = makeDownloadTable({
    title: 'Models against reviewers, by category',
    file: 'models-by-category',
    cells: /** @type {[string, (row: Compared) => string][]} */ ([
      ['Category', ({ category }) => categoryWord(category)],
      ['Rule', ({ action, threshold }) => `${action} from ${threshold.toFixed(2)}`],
      ['Images judged', ({ judged }) => whole(judged)],
      ['Precision', ({ precision }) => withInterval(precision)],
      ['Recall', ({ recall }) => withInterval(recall)],
    ]),
    columns: [
      'Category',
      'Action',
      'Threshold',
      'Images judged',
      'True positives',
      'False positives',
      'False negatives',
      'True negatives',
    ],
    fields: ({ category, action, threshold, judged, confusion }) => [
      category,
      action,
      threshold,
      judged,
      confusion.true_positives,
      confusion.false_positives,
      confusion.false_negatives,
      confusion.true_negatives,
    ],
    none: 'The policy has no rule of a category, so there is no threshold to compare at.',
  })
  const source = make(
    'p',
    { class: 'muted' },
    'Of decided images, unweighted: people chose many of them, and a detail model that is asked ' +
      'about flagged images only has judged no others. An image has the categories that more than ' +
      'half of its reviewers name. These are no rates of all images.',
  )
  const tables = make('div', {}, reviewers.element, pairs.element, cut, models.element, source)
  const element = make('div', { class: 'category-agreement' }, basis, tables)

  return {
    element,
    /** @param {CategoryAgreement} found */
    show({ decisions, not_asked: notAsked, images, categories }) {
      element.hidden = !decisions && !notAsked
      tables.hidden = !decisions
      basis.textContent = decisions
        ? `${counted(decisions, 'decision')} about ${counted(images, 'image')} ${decisions === 1 ? 'was' : 'were'} asked for categories. ${leftOut(notAsked)}`
        : `No decision in this selection was asked for categories: the form of a decision asks, the keys do not.`
      const named = categories.filter((record) => record.named.part)
      reviewers.show(named)
      const listed = named.flatMap(({ category, pairs: each }) =>
        each.map((pair) => ({ ...pair, category })),
      )
      pairs.show(listed)
      const all = named.reduce((sum, record) => sum + record.all_pairs, 0)
      cut.textContent =
        all > listed.length
          ? `The ${whole(listed.length)} pairs with the most images of ${whole(all)}.`
          : ''
      models.show(
        categories.flatMap(({ category, comparison }) =>
          comparison ? [{ ...comparison, category }] : [],
        ),
      )
    },
  }
}

/** @param {number} count Decisions that were not asked. */
const leftOut = (count) =>
  count
    ? `${counted(count, 'other decision')} ${count === 1 ? 'was' : 'were'} not, and ${count === 1 ? 'is' : 'are'} left out.`
    : ''

/** @param {number | null} value @param {number} pairs */
function figure(value, pairs) {
  if (!pairs) return 'No image in common'
  return value?.toFixed(3) ?? 'Undefined: all alike'
}

/** @param {IntervalShare} rate */
function withInterval({ part, whole: all, interval }) {
  if (!interval) return 'None to count'
  const [low, high] = interval
  return `${percent(part / all)} (${whole(part)} of ${whole(all)}), 95 % interval ${percent(low)} to ${percent(high)}`
}
