// The Relabel list: settled misclassifications, to confirm as training labels or to exclude.

/** @import { ModelLabel } from '../shared/policy.js' */
/** @import { Misclassified } from '../shared/server.js' */

import { isVisible, make } from '../shared/dom.js'
import { Preview } from '../shared/preview.js'
import {
  messageOf,
  misclassifications,
  setTrainingLabel,
  trainingLabelsUrl,
} from '../shared/server.js'

/**
 * Loads the list whenever it becomes visible.
 *
 * @param {HTMLElement} root
 */
export function mount(root) {
  const status = make('span', { role: 'status' })
  const list = make('div', { class: 'misclassifications' })
  const reload = make('button', { type: 'button', class: 'quiet', onclick: load }, 'Refresh')
  const link = make(
    'a',
    { class: 'button', href: trainingLabelsUrl, download: 'training-labels.jsonl' },
    'Export confirmed labels',
  )
  root.replaceChildren(
    make('div', { class: 'log-head' }, status, make('span', { class: 'buttons' }, reload, link)),
    list,
  )

  async function load() {
    try {
      draw(await misclassifications())
    } catch (error) {
      status.textContent = messageOf(error)
    }
  }

  /** @param {Misclassified[][]} groups */
  function draw(groups) {
    const count = groups.flat().length
    const words = count === 1 ? 'misclassification' : 'misclassifications'
    status.textContent = `${count} settled ${words}, the most confident first`
    if (count) list.replaceChildren(...groups.map(drawGroup))
    else {
      list.replaceChildren(
        make(
          'p',
          { class: 'empty' },
          'A disagreement is settled when a second reviewer makes the same decision. A single reviewer can set NSFW_ANSWERS to disagreement=1.',
        ),
      )
    }
  }

  new IntersectionObserver(() => isVisible(root) && load()).observe(root)
}

/** @param {Misclassified[]} members */
function drawGroup(members) {
  const note =
    members.length > 1 ? make('p', { class: 'muted' }, `${members.length} near duplicates`) : null
  return make('section', { class: 'misclassification-group' }, note, ...members.map(drawItem))
}

/** @param {Misclassified} item */
function drawItem(item) {
  const image = { ...item, name: '', action: /** @type {const} */ ('review'), error: null }
  const preview = new Preview(image, 'thumbnail')
  preview.element.append(preview.makeButton())
  const state = make('span', { class: 'muted', role: 'status' }, describe(item.confirmed))
  /** @param {string} word @param {ModelLabel | null} label */
  const choice = (word, label) => {
    const onclick = async () => {
      try {
        await setTrainingLabel(item.prediction_id, label)
        state.textContent = describe(label ?? '')
      } catch (error) {
        state.textContent = `Not saved. ${messageOf(error)}`
      }
    }
    return make('button', { type: 'button', onclick }, word)
  }
  const score = item.nsfw_score.toFixed(3)
  const decisions = item.answers === 1 ? '1 decision' : `${item.answers} decisions`
  return make(
    'article',
    { class: 'misclassification', 'data-id': item.sha256 },
    preview.element,
    make(
      'div',
      { class: 'misclassification-text' },
      make('span', {}, `Settled as ${item.label}; the model's score is ${score}.`),
      make('span', { class: 'muted' }, `${decisions}, ${item.model}`),
      state,
      make(
        'span',
        { class: 'buttons' },
        choice(`Confirm ${item.label}`, item.label),
        choice('Exclude', null),
      ),
    ),
  )
}

/**
 * The state of a training label.
 *
 * @param {string | null} confirmed
 */
function describe(confirmed) {
  if (confirmed === null) return 'Not reviewed'
  return confirmed ? `Training label: ${confirmed}` : 'Excluded'
}
