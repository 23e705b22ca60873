// Sampled images that reviewers label differently from the model, blurred; fetched when opened.

import { make } from '../shared/dom.js'
import { Preview } from '../shared/preview.js'
import { get, messageOf } from '../shared/requests.js'
import { whole } from './finder.js'

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
  let request = 0
  /** @type {Kind} */
  let kind = 'missed'
  const text = make('p', { role: 'status' })
  const list = make('ul', { class: 'disagreements' })
  const more = make('button', { type: 'button', class: 'quiet', onclick: () => load() })
  const buttons = KINDS.map(([name, word]) => {
    const button = make('button', { type: 'button', onclick: () => choose(name) }, word)
    return /** @type {[Kind, string, HTMLButtonElement]} */ ([name, word, button])
  })
  const choice = make(
    'div',
    { class: 'buttons', role: 'group', 'aria-label': 'Kind of disagreement' },
    ...buttons.map(([, , button]) => button),
  )
  const element = make(
    'details',
    { id: 'evidence-disagreements', ontoggle: startOver },
    make('summary', {}, 'Disagreements'),
    choice,
    text,
    list,
    more,
  )
  choice.hidden = true
  more.hidden = true

  /** @param {Kind} next */
  function choose(next) {
    kind = next
    startOver()
  }

  function startOver() {
    list.replaceChildren()
    load()
  }

  /** Adds the next images of this kind. */
  async function load() {
    if (!element.open) return
    const number = ++request
    const offset = list.childElementCount
    const asked = new URLSearchParams(query)
    asked.set('kind', kind)
    asked.set('offset', String(offset))
    try {
      const found = await get(`insights/disagreements?${asked}`)
      if (number !== request) return
      draw(found)
      if (offset) focusOn(list.children[offset])
    } catch (error) {
      if (number === request) text.textContent = messageOf(error)
    }
  }

  /** @param {Found} found */
  function draw(found) {
    const total = found[kind]
    choice.hidden = !(found.missed + found.false_alarms)
    for (const [name, word, button] of buttons) {
      button.textContent = `${word} (${whole(found[name])})`
      button.setAttribute('aria-pressed', String(name === kind))
    }
    list.append(...found.images.map((item) => drawItem(item, kind)))
    const shown = list.childElementCount
    text.textContent = sentence(found, kind, shown)
    more.hidden = shown >= total
    more.textContent = `Show more (${whole(total - shown)} left)`
  }

  return {
    element,
    /** @param {URLSearchParams} next */
    show(next) {
      if (next.toString() === query.toString() && list.childElementCount) return
      query = next
      startOver()
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
