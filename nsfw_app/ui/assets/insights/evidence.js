// The evidence in the Insights tab: what is allowed, alarms, the threshold finder, scores and their
// calibration, wrong labels, and counts of decisions. It is fetched whenever the tab becomes visible,
// and with each change of a filter, of the policy and of the model's state. An alarm that any tab
// receives is shown here at once.

/** @import { Evidence, Numbers } from './finder.js' */
/** @import { Counts, Estimates } from './weightedCounts.js' */
/** @import { Errors } from './errorEstimates.js' */
/** @import { Comparison } from './driftSeries.js' */
/** @import { Calibration, Histogram, Point } from './diagrams.js' */

import { isVisible, make, watchVisibility } from '../shared/dom.js'
import { get } from '../shared/requests.js'
import { status } from '../shared/server.js'
import { alarms } from './alarmNotice.js'
import { makeDecisionCounts } from './decisionCounts.js'
import { makeHistogram, makeReliability } from './diagrams.js'
import { makeDisagreements } from './disagreements.js'
import { makeDriftCharts } from './driftCharts.js'
import { makeErrorEstimates } from './errorEstimates.js'
import { makeEvidenceFilter } from './evidenceFilter.js'
import { driftSentences, leftOutSentences } from './evidenceText.js'
import { makeFinderPanel } from './finderPanel.js'
import { makeLatestAnswer } from './latestAnswer.js'
import { makePending } from './pending.js'
import { makeReferenceForm } from './referenceForm.js'
import { drawWeightedCounts } from './weightedCounts.js'

/** @typedef {{ alarm: number | null, reference: number, recent: number, compared: boolean }} Drift */

/**
 * @typedef {object} SummaryFields What /desk/insights returns in addition.
 * @property {string} headline
 * @property {string[]} alarms
 * @property {boolean} outdated
 * @property {string} model
 * @property {Numbers & { version: number }} policy
 * @property {Estimates} labeled At the threshold.
 * @property {Counts} labeled_reviews
 * @property {Errors} errors
 * @property {number} never_drawn
 * @property {number} unsettled
 * @property {number} provisional Of the reviews; not settled yet.
 * @property {Histogram} histogram
 * @property {Calibration | null} calibration
 * @property {Point[]} reliability
 * @property {Point[]} reliability_calibrated
 * @property {Drift} drift
 * @property {Drift} disagreement_drift
 * @property {Comparison} [comparison]
 * @property {string[]} sources
 * @property {string[]} models
 * @property {boolean} runs Whether it is of the model that runs.
 */
/** @typedef {Evidence & SummaryFields} Summary */

const REFRESH_MS = 6000 // the server computes a summary again after 5 s

/**
 * @param {HTMLElement} root
 * @param {{ trigger: (event: string, data: object) => void }} component
 */
export function mount(root, { trigger }) {
  /** @type {Summary | null} */
  let now = null
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer
  const filter = makeEvidenceFilter(load, loadDecisions)
  const alarmTexts = make('div', { role: 'status' })
  const reference = makeReferenceForm(filter.query, async () => {
    await load()
    headline.focus() // the button has gone
  })
  const alarm = make('div', { id: 'evidence-alarm', hidden: true }, alarmTexts, reference.element)
  const headline = make('p', { id: 'evidence-headline', role: 'status', tabindex: '-1' })
  const pending = makePending('Counting the images of this selection...', () => latest.again())
  const leftOut = make('ul', { class: 'evidence-notes' })
  const finder = makeFinderPanel((proposal) => trigger('use', proposal))
  const histogram = makeHistogram()
  const reliability = makeReliability()
  const counts = make('section', { class: 'definition-list insight', 'aria-label': 'Rates' })
  const disagreements = makeDisagreements()
  const numbers = make('div')
  counts.append(numbers, disagreements.element)
  const errors = makeErrorEstimates()
  const decisions = makeDecisionCounts(filter.offerReviewers)
  const drift = make('div', { class: 'drift' })
  const driftCharts = makeDriftCharts()
  const details = make(
    'div',
    { class: 'evidence-details', hidden: true },
    finder.element,
    counts,
    errors.element,
    make(
      'section',
      { class: 'definition-list insight', 'aria-label': 'Scores and calibration' },
      make('h2', {}, 'Scores and calibration'),
      make('div', { class: 'evidence-charts' }, histogram.element, reliability.element),
    ),
    make(
      'section',
      { class: 'definition-list insight', 'aria-label': 'Drift' },
      make('h2', {}, 'Drift'),
      drift,
      driftCharts.element,
    ),
  )
  const top = make(
    'section',
    { class: 'definition-list insight', 'aria-label': 'Summary' },
    pending.line,
    alarm,
    headline,
    leftOut,
  )
  root.replaceChildren(filter.element, top, details, decisions.element)

  function loadDecisions() {
    const query = filter.decisionQuery()
    decisions.load(query)
    disagreements.show(query)
  }

  const latest = makeLatestAnswer({
    /** @returns {Promise<Summary>} */
    ask: (query) => get(`insights?${query}`),
    show: draw,
    mark(state) {
      const sections = details.querySelectorAll('section')
      pending.mark(state, [top, ...sections])
      details.hidden = !now?.images || (state.other && state.error !== null)
      decisions.element.hidden ||= state.other && state.error !== null
      if (state.other && state.waiting) decisions.wait()
    },
  })

  function load() {
    clearTimeout(timer)
    return latest.load(filter.query().toString())
  }

  /** @param {Summary} summary */
  function draw(summary) {
    now = summary
    filter.offer(summary)
    headline.textContent = summary.headline
    reference.show(summary)
    leftOut.replaceChildren(...leftOutSentences(summary).map((text) => make('li', {}, text)))
    numbers.replaceChildren(...drawWeightedCounts(summary.labeled, summary.labeled_reviews))
    errors.show(summary.errors, summary.reviews)
    loadDecisions()
    finder.show(summary, summary.runs)
    histogram.show(summary.histogram)
    const { reliability: raw, reliability_calibrated: calibrated, calibration, model } = summary
    reliability.show(raw, calibrated, calibration, model)
    drift.replaceChildren(...driftSentences(summary).map((text) => make('p', {}, text)))
    driftCharts.element.hidden = !summary.comparison
    if (summary.comparison) driftCharts.show(summary.comparison)
    if (summary.outdated) timer = setTimeout(() => isVisible(root) && load(), REFRESH_MS)
    if (summary.outdated) alarms.ask()
    else if (isOfThePolicy(summary)) alarms.publish(summary.alarms)
    drawAlarms()
    return filter.query().toString() // the model is named in it from now on
  }

  function drawAlarms() {
    if (!now) return
    const newer = isOfThePolicy(now) ? (alarms.current.value ?? []) : []
    const texts = [...new Set([...now.alarms, ...newer])]
    alarm.hidden = !texts.length
    alarmTexts.replaceChildren(...texts.map((text) => make('p', {}, text)))
  }

  alarms.current.subscribe(drawAlarms)
  let known = ''
  status.subscribe(({ state, policy }) => {
    const next = `${state} ${policy.version}`
    if (known && next !== known && isVisible(root)) load()
    known = next
  })
  watchVisibility(root, (visible) => (visible ? load() : clearTimeout(timer)))
}

/** Whether alarms of it are those about the policy in force, of all images. @param {Summary} summary */
const isOfThePolicy = ({ runs, source }) => runs && !source
