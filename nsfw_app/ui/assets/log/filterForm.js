// The fields that filter the log. A change applies immediately.

/** @import { Filter } from './query.js' */

import { CATEGORY_WORDS, categoryWord } from '../shared/categories.js'
import { reasonWord } from '../shared/decisionForm.js'
import { make } from '../shared/dom.js'
import { DECISIONS, EVERYTHING, isHash } from './query.js'

const SEARCH_CHARACTERS = 200

/**
 * Creates the form.
 *
 * @param {(filter: Filter, typing: boolean) => void} onChange Called with each change, and whether
 *   more of a text may follow.
 */
export function makeFilterForm(onChange) {
  const fields = {
    reviewer: choice('Reviewer'),
    label: choice('Reviewer label', ['normal', 'nsfw', 'unsure']),
    decision: choice('Decision', Object.keys(DECISIONS)),
    model: choice('Model'),
    reason: choice('Reason'),
    category: choice(
      'Category',
      CATEGORY_WORDS.map(([name]) => name),
      categoryWord,
    ),
    since: field('From (UTC)', { type: 'date', max: '9999-12-31' }),
    until: field('To (UTC)', { type: 'date', max: '9999-12-31' }),
    search: field('Name or note', { type: 'search', maxlength: SEARCH_CHARACTERS }),
    sha256: field('Image hash', { type: 'search', maxlength: 64, spellcheck: 'false' }),
  }
  const clear = make('button', { type: 'button', class: 'quiet', onclick: reset }, 'Clear filter')
  const hint = make('span', { class: 'muted', role: 'status' })
  const element = make(
    'form',
    { id: 'log-filters', 'aria-label': 'Filter of the log' },
    ...Object.values(fields).map(({ label }) => label),
    clear,
    hint,
  )
  element.addEventListener('submit', (event) => event.preventDefault())
  element.addEventListener('input', (event) => {
    const { search, sha256 } = fields
    changed(event.target === search.input || event.target === sha256.input)
  })

  /** @param {boolean} typing */
  function changed(typing) {
    const { sha256 } = value()
    hint.textContent =
      sha256 && !isHash(sha256) ? 'A hash has digits 0 to 9 and a to f; write at least 4.' : ''
    onChange(value(), typing)
  }

  /** @returns {Filter} */
  function value() {
    const entries = Object.entries(fields).map(([name, { input }]) => [name, input.value])
    return { ...EVERYTHING, ...Object.fromEntries(entries) }
  }

  function reset() {
    for (const { input } of Object.values(fields)) input.value = ''
    changed(false)
  }

  return {
    element,
    /**
     * Offers what the log contains, and keeps what is chosen.
     *
     * @param {{ reviewers: string[], models: string[], reasons: string[] }} choices
     */
    offer({ reviewers, models, reasons }) {
      fields.reviewer.offer(reviewers)
      fields.model.offer(models)
      fields.reason.offer(reasons, reasonWord)
    },
    /**
     * Shows everything about one image.
     *
     * @param {string} hash
     */
    showImage(hash) {
      for (const { input } of Object.values(fields)) input.value = ''
      fields.sha256.input.value = hash
      changed(false)
    },
  }
}

/**
 * @param {string} word
 * @param {Record<string, string | number>} attributes
 */
function field(word, attributes) {
  const input = make('input', attributes)
  return { input, label: make('label', {}, make('span', {}, word), input) }
}

/**
 * @param {string} word
 * @param {string[]} [values]
 * @param {(value: string) => string} [wordOf]
 */
function choice(word, values = [], wordOf = (value) => value) {
  const input = make('select')
  /** @param {string[]} offered @param {(value: string) => string} [words] */
  function offer(offered, words = wordOf) {
    const chosen = input.value
    const all = chosen && !offered.includes(chosen) ? [...offered, chosen] : offered
    input.replaceChildren(
      make('option', { value: '' }, 'Any'),
      ...all.map((value) => make('option', { value }, words(value))),
    )
    input.value = chosen
  }
  offer(values)
  return { input, offer, label: make('label', {}, make('span', {}, word), input) }
}
