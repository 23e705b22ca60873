// The audit rates that are expected to certify the finder's target; fetched when opened.

import { make } from '../shared/dom.js'
import { get, messageOf } from '../shared/requests.js'

/** @typedef {{ sentences: string[], settings: string[] }} Plan */
/** @typedef {{ recall: number, reviews: number | null, model: string }} Target */

export function makeAuditPlan() {
  /** @type {Target | null} */
  let target = null
  let request = 0
  const text = make('div', { role: 'status' })
  const element = make(
    'details',
    { id: 'audit-plan', ontoggle: load },
    make('summary', {}, 'Audit plan'),
    text,
  )

  async function load() {
    if (!element.open) return
    if (!target) {
      text.replaceChildren(make('p', {}, 'A plan needs correct targets.'))
      return
    }
    const number = ++request
    const { recall, reviews, model } = target
    const query = new URLSearchParams({ recall: String(recall), model })
    if (reviews !== null) query.set('max_reviews_a_day', String(reviews))
    try {
      const plan = await get(`insights/audit-plan?${query}`)
      if (number === request) text.replaceChildren(...draw(plan))
    } catch (error) {
      if (number === request) text.replaceChildren(make('p', {}, messageOf(error)))
    }
  }

  return {
    element,
    /** @param {Target | null} next What is asked when the plan is opened, or opened again. */
    show(next) {
      target = next
    },
  }
}

/** @param {Plan} plan */
function draw({ sentences, settings }) {
  const words = sentences.map((sentence) => make('p', {}, sentence))
  if (!settings.length) return words
  return [
    ...words,
    make('p', {}, 'Set, and restart the server:'),
    make('pre', { class: 'settings' }, settings.join('\n')),
  ]
}
