// Which images the evidence is of: a period, a source, a model.

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

/** @param {() => void} onChange */
export function makeEvidenceFilter(onChange) {
  const period = make('select', { id: 'evidence-days' }, ...PERIODS.map(option))
  period.value = PERIOD
  const source = make('select', { id: 'evidence-source' }, option(['', 'Any']))
  const model = make('select', { id: 'evidence-model' })
  const models = labeled('Model', model)
  models.hidden = true
  const element = make(
    'form',
    { id: 'evidence-filter', 'aria-label': 'Filter of the evidence', onchange: onChange },
    labeled('Period', period),
    labeled('Source', source),
    models,
  )
  element.addEventListener('submit', (event) => event.preventDefault())

  return {
    element,
    query() {
      const query = new URLSearchParams()
      for (const [name, { value }] of Object.entries({ days: period, source, model }))
        if (value) query.set(name, value)
      return query
    },
    /**
     * Offers what there is, and keeps what is chosen.
     *
     * @param {{ sources: string[], models: string[], model: string }} choices
     */
    offer({ sources, models: names, model: shown }) {
      const chosen = source.value
      const all = chosen && !sources.includes(chosen) ? [...sources, chosen] : sources
      source.replaceChildren(option(['', 'Any']), ...all.map((name) => option([name, name])))
      source.value = chosen
      model.replaceChildren(...names.map((name) => option([name, name])))
      model.value = shown
      models.hidden = names.length < 2
    },
  }
}

/** @param {[string, string]} choice */
const option = ([value, word]) => make('option', { value }, word)

/** @param {string} word @param {HTMLSelectElement} select */
const labeled = (word, select) => make('label', {}, make('span', {}, word), select)
