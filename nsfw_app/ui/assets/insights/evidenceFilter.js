// Which images the evidence is of: a period, a source, a model; and whose decisions are counted.

import { make } from '../shared/dom.js'

/** @type {[string, string][]} */
const PERIODS = [
  ['7', 'Last 7 days'],
  ['30', 'Last 30 days'],
  ['90', 'Last 90 days'],
  ['365', 'Last 365 days'],
  ['', 'All'],
]
const PERIOD = '30'
const OF_REVIEWER =
  'The reviewer selects decisions: the disagreements, the counts by reason, source and day, the reviewers, and their pairs; alpha is of all of them. Estimates, bounds, certificates and drift are of all images.'

/**
 * @param {() => void} onChange
 * @param {() => void} onReviewer The reviewer alone has changed.
 */
export function makeEvidenceFilter(onChange, onReviewer) {
  const period = make('select', { id: 'evidence-days' }, ...PERIODS.map(option))
  period.value = PERIOD
  const source = make('select', { id: 'evidence-source' }, option(['', 'Any']))
  const model = make('select', { id: 'evidence-model' })
  const reviewer = make('select', { id: 'evidence-reviewer' }, option(['', 'Any']))
  const models = labeled('Model', model)
  const reviewers = labeled('Reviewer', reviewer)
  const note = make('p', { role: 'status', class: 'muted' })
  models.hidden = true
  reviewers.hidden = true
  const element = make(
    'form',
    { id: 'evidence-filter', 'aria-label': 'Filter of the evidence' },
    labeled('Period', period),
    labeled('Source', source),
    models,
    reviewers,
    note,
  )
  element.addEventListener('change', ({ target }) => {
    note.textContent = reviewer.value ? OF_REVIEWER : ''
    if (target === reviewer) onReviewer()
    else onChange()
  })
  element.addEventListener('submit', (event) => event.preventDefault())

  /** @param {Record<string, HTMLSelectElement>} selects */
  function queryOf(selects) {
    const query = new URLSearchParams()
    for (const [name, { value }] of Object.entries(selects)) if (value) query.set(name, value)
    return query
  }

  return {
    element,
    query: () => queryOf({ days: period, source, model }),
    /** For what the reviewer selects, too. */
    decisionQuery: () => queryOf({ days: period, source, model, reviewer }),
    /** @param {string[]} names Of reviewers. */
    offerReviewers(names) {
      offerNames(reviewer, names)
      reviewers.hidden = reviewer.options.length < 3 // there is nothing to choose
    },
    /**
     * Offers what there is, and keeps what is chosen.
     *
     * @param {{ sources: string[], models: string[], model: string }} choices
     */
    offer({ sources, models: names, model: shown }) {
      offerNames(source, sources)
      model.replaceChildren(...names.map((name) => option([name, name])))
      model.value = shown
      models.hidden = names.length < 2
    },
  }
}

/**
 * Offers names and any of them, and keeps what is chosen. An open list is not redrawn for nothing.
 *
 * @param {HTMLSelectElement} select
 * @param {string[]} names
 */
function offerNames(select, names) {
  const chosen = select.value
  const all = chosen && !names.includes(chosen) ? [...names, chosen] : names
  const shown = [...select.options].slice(1).map(({ value }) => value)
  if (shown.join('\n') === all.join('\n')) return
  select.replaceChildren(option(['', 'Any']), ...all.map((name) => option([name, name])))
  select.value = chosen
}

/** @param {[string, string]} choice */
const option = ([value, word]) => make('option', { value }, word)

/** @param {string} word @param {HTMLSelectElement} select */
const labeled = (word, select) => make('label', {}, make('span', {}, word), select)
