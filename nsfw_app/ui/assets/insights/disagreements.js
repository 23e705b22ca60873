// Sampled images that reviewers label differently from the model, blurred; fetched when opened.

import { make } from '../shared/dom.js'
import { Preview } from '../shared/preview.js'
import { get } from '../shared/requests.js'
import { whole } from './finder.js'
import { makeLatestAnswer } from './latestAnswer.js'
import { makePending } from './pending.js'

/** @typedef {{ sha256: string, name: string, nsfw_score: number, allowed: boolean, placeholder: string | null, kept: boolean }} Item */
/** @typedef {{ missed: number, allowed: number, false_alarms: number, images: Item[] }} Found */
/** @typedef {'missed' | 'false_alarms'} Kind */

/** @type {[Kind, string][]} */
const KINDS = [
  ['missed', 'Missed unsafe'],
  ['false_alarms', 'False alarms'],
]

export function makeDisagreements() {
  let query = new URLSearchParams()
  /** @type {Kind} */
  let kind = 'missed'
  const pending = makePending('Loading the disagreements...', () => latest.again())
  const text = make('p', { role: 'status' })
  const list = make('ul', { class: 'disagreements' })
  const more = make('button', {
    type: 'button',
    class: 'quiet',
    onclick: () => load(list.childElementCount),
  })
  const buttons = KINDS.map(([name, word]) => {
    const button = make('button', { type: 'button', onclick: () => choose(name) }, word)
    return /** @type {[Kind, string, HTMLButtonElement]} */ ([name, word, button])
  })
  const choice = make(
    'div',
    { class: 'buttons', role: 'group', 'aria-label': 'Kind of disagreement' },
    ...buttons.map(([, , button]) => button),
  )
  const results = make('div', {}, text, list, more)
  const element = make(
    'details',
    { id: 'evidence-disagreements', ontoggle: () => load(0) },
    make('summary', {}, 'Disagreements'),
    choice,
    pending.line,
    results,
  )
  choice.hidden = true
  more.hidden = true
  let shown = { filter: '', kind: '' } // what is on screen
  const latest = makeLatestAnswer({
    /** @returns {Promise<Found>} */
    ask: (asked) => get(`insights/disagreements?${asked}`),
    show: draw,
    mark(state) {
      const otherFilter = shown.filter !== query.toString()
      pending.mark({ ...state, other: otherFilter || shown.kind !== kind }, [results])
      choice.classList.toggle('other', otherFilter)
    },
  })

  /** @param {Kind} next */
  function choose(next) {
    kind = next
    load(0)
  }

  /** Asks for the images of this kind from a number on. @param {number} offset */
  function load(offset) {
    if (!element.open) return
    const asked = new URLSearchParams(query)
    asked.set('kind', kind)
    asked.set('offset', String(offset))
    latest.load(asked.toString())
  }

  /** @param {Found} answer @param {string} asked */
  function draw(answer, asked) {
    const offset = Number(new URLSearchParams(asked).get('offset'))
    const total = answer[kind]
    shown = { filter: query.toString(), kind }
    choice.hidden = !(answer.missed + answer.false_alarms)
    for (const [name, word, button] of buttons) {
      button.textContent = `${word} (${whole(answer[name])})`
      button.setAttribute('aria-pressed', String(name === kind))
    }
    if (!offset) list.replaceChildren()
    list.append(...answer.images.map((item) => drawItem(item, kind)))
    const count = list.childElementCount
    text.textContent = sentence(answer, kind, count)
    more.hidden = count >= total
    more.textContent = `Show more (${whole(total - count)} left)`
    if (offset) focusOn(list.children[offset])
  }

  return {
    element,
    /** @param {URLSearchParams} next */
    show(next) {
      const same = next.toString() === query.toString()
      query = next
      if (!same || !list.childElementCount) load(0)
    },
  }
}

/** @param {Found} found @param {Kind} kind @param {number} shown */
function sentence({ missed, allowed, false_alarms: wrong }, kind, shown) {
  if (!missed && !wrong) return 'No sampled image has another label than the model gives it.'
  const part = (/** @type {number} */ total) =>
    shown < total ? ` The ${whole(shown)} farthest from the threshold are shown.` : ''
  if (kind === 'missed')
    return `Sampled unsafe images that the model labels normal: ${whole(missed)}, of which ${whole(allowed)} are allowed without a person.${part(missed)}`
  return `Sampled safe images that the model labels nsfw: ${whole(wrong)}.${part(wrong)}`
}

/** The first new image, so that the keyboard goes on there. @param {Element | undefined} item */
function focusOn(item) {
  if (!(item instanceof HTMLElement)) return
  item.tabIndex = -1
  item.focus()
}

/** @param {Item} item @param {Kind} kind */
function drawItem(item, kind) {
  const { name, nsfw_score: score, allowed } = item
  const preview = new Preview(
    {
      ...item,
      label: null,
      action: 'review',
      error: null,
      placeholder: item.placeholder ?? undefined,
    },
    'thumbnail',
  )
  if (item.kept) preview.element.append(preview.makeButton())
  const labels =
    kind === 'missed' ? 'Reviewers: nsfw, model: normal' : 'Reviewers: normal, model: nsfw'
  return make(
    'li',
    {},
    preview.element,
    make('span', { dir: 'auto', title: name }, name),
    make('span', {}, labels),
    make('span', { class: 'muted' }, `Score ${score.toFixed(3)}${allowed ? ', allowed' : ''}`),
  )
}
