// The audit rates that are expected to certify the finder's target; fetched when opened, and never
// shown for other targets.

import { make } from '../shared/dom.js'
import { get, messageOf } from '../shared/requests.js'

/** @typedef {{ sentences: string[], settings: string[] }} Plan */
/** @typedef {{ recall: number, reviews: number | null, model: string }} Target */

export function makeAuditPlan() {
  /** @type {Target | null} */
  let target = null
  let request = 0
  let asked = '' // the target of the plan on screen
  const text = make('div', { role: 'status' })
  const element = make(
    'details',
    { id: 'audit-plan', ontoggle: load },
    make('summary', {}, 'Audit plan'),
    text,
  )

  async function load() {
    if (!element.open) return
    asked = JSON.stringify(target)
    if (!target) {
      text.replaceChildren(make('p', {}, 'A plan needs correct targets.'))
      return
    }
    const number = ++request
    text.replaceChildren(make('p', {}, 'Computing the plan...'))
    const { recall, reviews, model } = target
    const query = new URLSearchParams({ recall: String(recall), model })
    if (reviews !== null) query.set('max_reviews_a_day', String(reviews))
    try {
      const plan = await get(`insights/audit-plan?${query}`)
      if (number === request) text.replaceChildren(...draw(plan))
    } catch (error) {
      if (number === request) text.replaceChildren(make('p', {}, messageOf(error)), again())
    }
  }

  const again = () => make('button', { type: 'button', onclick: load }, 'Propose a plan')

  return {
    element,
    /** @param {Target | null} next What is asked when the plan is opened, or on request. */
    show(next) {
      target = next
      if (!element.open || !asked || asked === JSON.stringify(target)) return
      request += 1 // a plan on its way is of other targets
      asked = ''
      text.replaceChildren(make('p', {}, 'The targets or the model have changed.'), again())
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
