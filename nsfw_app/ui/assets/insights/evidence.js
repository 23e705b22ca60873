// The evidence in the Insights tab: what is allowed, alarms, the threshold finder, scores and their
// calibration, wrong labels, and counts of decisions. It is fetched whenever the tab becomes visible,
// and with each change of a filter, of the policy and of the model's state.

/** @import { Evidence, Numbers } from './finder.js' */
/** @import { Counts, Estimates } from './weightedCounts.js' */
/** @import { Errors } from './errorEstimates.js' */
/** @import { Comparison } from './driftSeries.js' */
/** @import { Calibration, Histogram, Point } from './diagrams.js' */

import { isVisible, make, watchVisibility } from '../shared/dom.js'
import { get, messageOf } from '../shared/requests.js'
import { status } from '../shared/server.js'
import { makeDecisionCounts } from './decisionCounts.js'
import { makeHistogram, makeReliability } from './diagrams.js'
import { makeDisagreements } from './disagreements.js'
import { makeDriftCharts } from './driftCharts.js'
import { makeErrorEstimates } from './errorEstimates.js'
import { makeEvidenceFilter } from './evidenceFilter.js'
import { driftSentences, leftOutSentences } from './evidenceText.js'
import { makeFinderPanel } from './finderPanel.js'
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
  let request = 0
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer
  const filter = makeEvidenceFilter(load, loadDecisions)
  const alarms = make('div', { role: 'status' })
  const reference = makeReferenceForm(filter.query, async () => {
    await load()
    headline.focus() // the button has gone
  })
  const alarm = make('div', { id: 'evidence-alarm', hidden: true }, alarms, reference.element)
  const headline = make(
    'p',
    { id: 'evidence-headline', role: 'status', tabindex: '-1' },
    'Loading...',
  )
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
    { hidden: true },
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
  root.replaceChildren(
    filter.element,
    make('section', { class: 'definition-list insight' }, alarm, headline, leftOut),
    details,
    decisions.element,
  )

  function loadDecisions() {
    const query = filter.decisionQuery()
    decisions.load(query)
    disagreements.show(query)
  }

  async function load() {
    const number = ++request
    clearTimeout(timer)
    try {
      const summary = await get(`insights?${filter.query()}`)
      if (number === request) draw(summary)
    } catch (error) {
      if (number === request) fail(messageOf(error))
    }
  }

  /** @param {string} message */
  function fail(message) {
    headline.textContent = message
    alarm.hidden = true
    details.hidden = true
    decisions.element.hidden = true
    leftOut.replaceChildren()
  }

  /** @param {Summary} summary */
  function draw(summary) {
    filter.offer(summary)
    headline.textContent = summary.headline
    alarm.hidden = !summary.alarms.length
    alarms.replaceChildren(...summary.alarms.map((text) => make('p', {}, text)))
    reference.show(summary)
    leftOut.replaceChildren(...leftOutSentences(summary).map((text) => make('li', {}, text)))
    details.hidden = !summary.images
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
  }

  let known = ''
  status.subscribe(({ state, policy }) => {
    const next = `${state} ${policy.version}`
    if (known && next !== known && isVisible(root)) load()
    known = next
  })
  watchVisibility(root, (visible) => (visible ? load() : clearTimeout(timer)))
}
