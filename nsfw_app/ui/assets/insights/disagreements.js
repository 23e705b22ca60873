// Sampled images that reviewers label differently from the model, blurred; fetched when opened.

import { make } from '../shared/dom.js'
import { Preview } from '../shared/preview.js'
import { get, messageOf } from '../shared/requests.js'
import { whole } from './finder.js'

/** @typedef {{ sha256: string, name: string, nsfw_score: number, allowed: boolean, placeholder: string | null, kept: boolean }} Item */
/** @typedef {{ total: number, allowed: number, images: Item[] }} Found */

export function makeDisagreements() {
  let query = new URLSearchParams()
  let request = 0
  const list = make('div')
  const element = make(
    'details',
    { id: 'evidence-disagreements', ontoggle: load },
    make('summary', {}, 'Disagreements'),
    list,
  )

  async function load() {
    if (!element.open) return
    const number = ++request
    try {
      const found = await get(`insights/disagreements?${query}`)
      if (number === request) list.replaceChildren(...draw(found))
    } catch (error) {
      if (number === request) list.replaceChildren(make('p', {}, messageOf(error)))
    }
  }

  return {
    element,
    /** @param {URLSearchParams} next */
    show(next) {
      query = next
      load()
    },
  }
}

/** @param {Found} found */
function draw({ total, allowed, images }) {
  if (!total) return [make('p', {}, 'No sampled image has another label than the model gives it.')]
  const shown = images.length < total ? ` The ${images.length} worst are shown.` : ''
  return [
    make(
      'p',
      {},
      `${whole(total)} sampled images have another label than the model gives them; ${whole(allowed)} of them are unsafe and allowed.${shown}`,
    ),
    make('ul', { class: 'disagreements' }, ...images.map(drawItem)),
  ]
}

/** @param {Item} item */
function drawItem(item) {
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
  return make(
    'li',
    {},
    preview.element,
    make('span', { dir: 'auto', title: name }, name),
    make('span', { class: 'muted' }, `Score ${score.toFixed(3)}${allowed ? ', allowed' : ''}`),
  )
}
