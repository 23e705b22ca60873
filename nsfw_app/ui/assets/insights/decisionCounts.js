// Decisions of the period, counted: against the model, by reviewer and by week. It is fetched with
// each change of a filter, the reviewer's among them.

/** @import { CategoryAgreement } from './categoryTypes.js' */
/** @import { Group } from './decisionText.js' */
/** @import { ReviewerAgreement } from './reviewerAgreement.js' */

import { make } from '../shared/dom.js'
import { get } from '../shared/requests.js'
import { makeCategoryAgreement } from './categoryAgreement.js'
import { countSentences, NONE, shareThatDiffers } from './decisionText.js'
import { makeDownloadTable } from './downloadTable.js'
import { reasonName } from './errorEstimates.js'
import { percent, whole } from './finder.js'
import { makeLatestAnswer } from './latestAnswer.js'
import { makePending } from './pending.js'
import { drawReviewerAgreement } from './reviewerAgreement.js'
import { makeTimeChart } from './timeChart.js'

/** @typedef {{ total: Group, reasons: Group[], sources: Group[], days: Group[], waiting: number }} Counts */
/** @typedef {{ part: number, whole: number, interval: [number, number] | null }} Share */
/** @typedef {{ reviewer: string, decisions: number, differ: number, timed: number, median_ms: number | null, with_others: Share }} Person */
/** @typedef {{ week: string, decisions: number, with_others: Share }} Week */
/** @typedef {{ counts: Counts, people: Person[], weeks: Week[], agreement: ReviewerAgreement, categories: CategoryAgreement, reviewers: string[] }} Counted */

/** @param {(names: string[]) => void} offer Offers the reviewers in the filter. */
export function makeDecisionCounts(offer) {
  const text = make('div', { class: 'decision-text', role: 'status' })
  const pending = makePending('Counting the decisions...', () => latest.again())
  const days = makeTimeChart({
    title: 'Decisions that differ from the model, by day',
    file: 'decisions-by-day',
    columns: ['Day', 'Decisions', 'Nsfw, model normal', 'Normal, model nsfw', 'Unsure', 'Differ'],
    kind: 'share',
  })
  const [reasons, sources] = [groupTable('Reason', reasonName), groupTable('Source')]
  const people = makeDownloadTable({
    title: 'Reviewers in the period',
    file: 'reviewers',
    cells: /** @type {[string, (row: Person) => string][]} */ ([
      ['Reviewer', ({ reviewer }) => reviewer],
      ['Decisions', ({ decisions }) => whole(decisions)],
      ['Differ from the model', ({ differ }) => whole(differ)],
      ['Median seconds', medianSeconds],
      ['Agrees with others', ({ with_others: share }) => agreement(share)],
    ]),
    columns: [
      'Reviewer',
      'Decisions',
      'Differ from the model',
      'Timed',
      'Median ms',
      'Same label',
      "Others' decisions",
    ],
    fields: ({ reviewer, decisions, differ, timed, median_ms: median, with_others: share }) => [
      reviewer,
      decisions,
      differ,
      timed,
      median,
      share.part,
      share.whole,
    ],
    none: NONE,
  })
  const workload = makeTimeChart({
    title: 'Decisions by week',
    file: 'decisions-by-week',
    columns: ['Week from', 'Decisions'],
    kind: 'count',
  })
  const together = makeTimeChart({
    title: 'Agreement with others, by week',
    file: 'agreement-by-week',
    columns: ['Week from', 'Same label', "Others' decisions", 'Share', 'Lower', 'Upper'],
    kind: 'share',
  })
  const shared = make('div', { class: 'reviewer-agreement' })
  const categories = makeCategoryAgreement()
  const tables = make(
    'div',
    { hidden: true },
    make('div', { class: 'evidence-charts' }, days.element, reasons.element),
    sources.element,
    people.element,
    shared,
    categories.element,
    make('div', { class: 'evidence-charts' }, workload.element, together.element),
  )
  const element = make(
    'section',
    {
      id: 'decision-counts',
      class: 'definition-list insight',
      hidden: true,
      'aria-label': 'Decisions',
    },
    make('h2', {}, 'Decisions'),
    pending.line,
    text,
    tables,
  )

  const latest = makeLatestAnswer({
    /** @returns {Promise<Counted>} */
    ask: (query) => get(`insights/decisions?${query}`),
    show: draw,
    mark(state) {
      if (state.error !== null) element.hidden = false
      pending.mark(state, [element])
    },
  })

  /** @param {Counted} found */
  function draw({ counts, people: reviewers, weeks, agreement: found, ...rest }) {
    const { categories: judged, reviewers: names } = rest
    offer(names)
    const { total, waiting } = counts
    element.hidden = !names.length && !waiting
    tables.hidden = !total.decisions
    text.replaceChildren(...countSentences(counts).map((sentence) => make('p', {}, sentence)))
    days.show(
      counts.days.map((day) => ({ date: day.name, value: shareThatDiffers(day) })),
      `Share of decisions that differ from the model, on ${counts.days.length} days. The table has each day.`,
      () => counts.days.map((day) => [...fields(day), shareThatDiffers(day)]),
    )
    reasons.show(counts.reasons)
    sources.show(counts.sources)
    people.show(reviewers)
    shared.replaceChildren(...drawReviewerAgreement(found, waiting))
    categories.show(judged)
    workload.show(
      weeks.map(({ week, decisions }) => ({ date: week, value: decisions })),
      `Decisions in each of ${weeks.length} weeks. The table has each week.`,
      () => weeks.map(({ week, decisions }) => [week, decisions]),
    )
    together.element.hidden = weeks.every(({ with_others: share }) => !share.whole)
    together.show(
      weeks.map(({ week, with_others: share }) => ({ date: week, ...intervalOf(share) })),
      `Share of others' decisions about the same images with the same label, in each of ${weeks.length} weeks. The table has each week.`,
      () =>
        weeks.map(({ week, with_others: share }) => {
          const { value, lower, upper } = intervalOf(share)
          return [week, share.part, share.whole, value, lower ?? null, upper ?? null]
        }),
    )
  }

  return {
    element,
    /** @param {URLSearchParams} query */
    load: (query) => latest.load(query.toString()),
    /** While the summary of another selection is awaited, with which they are asked for. */
    wait: () => pending.mark({ waiting: true, other: true, error: null }, [element]),
  }
}

/** @param {string} title @param {(name: string) => string} [nameOf] */
function groupTable(title, nameOf = (name) => name) {
  return makeDownloadTable({
    title: `Decisions by ${title.toLowerCase()}`,
    file: `decisions-by-${title.toLowerCase()}`,
    cells: /** @type {[string, (row: Group) => string][]} */ ([
      [title, ({ name }) => nameOf(name)],
      ['Decisions', ({ decisions }) => whole(decisions)],
      ['Nsfw, model normal', ({ false_negatives: missed }) => whole(missed)],
      ['Normal, model nsfw', ({ false_positives: wrong }) => whole(wrong)],
      ['Unsure', ({ unsure }) => whole(unsure)],
    ]),
    columns: [title, 'Decisions', 'Nsfw, model normal', 'Normal, model nsfw', 'Unsure'],
    fields,
    none: 'None.',
  })
}

/** @param {Group} group */
const fields = ({ name, decisions, false_negatives, false_positives, unsure }) => [
  name,
  decisions,
  false_negatives,
  false_positives,
  unsure,
]

/** @param {Share} share */
function intervalOf({ part, whole: all, interval }) {
  if (!interval) return { value: null }
  return { value: part / all, lower: interval[0], upper: interval[1] }
}

/** @param {Share} share */
const agreement = ({ part, whole: all }) =>
  all ? `${percent(part / all)} (${whole(part)} of ${whole(all)})` : 'No image in common'

/** @param {Person} person */
function medianSeconds({ median_ms: median, timed, decisions }) {
  if (median === null) return 'No decision was timed'
  const seconds = (median / 1000).toFixed(1)
  return timed === decisions ? seconds : `${seconds} (${whole(timed)} timed)`
}
