// The filter fields above the grid: action, decision, reason, category, name, score.

/** @import { Action } from '../shared/policy.js' */
/** @import { CategoryChoice, Criteria, DecisionState } from './criteria.js' */

import { CATEGORY_WORDS } from '../shared/categories.js'
import { reasonWord } from '../shared/decisionForm.js'
import { make } from '../shared/dom.js'
import { ACTIONS } from '../shared/policy.js'
import { ACTION_WORDS } from '../shared/verdict.js'

/** @type {[DecisionState, string][]} */
const STATES = [
  ['any', 'Any'],
  ['open', 'No decision'],
  ['agree', 'Agreed'],
  ['disagree', 'Disagreed'],
  ['unsure', 'Unsure'],
]

/**
 * Creates the parts to place (`chips`, `toggle`, `fields`) and reads the criteria from them.
 *
 * @param {{ onChange: () => void }} handlers
 */
export function makeFilters({ onChange }) {
  /** @type {Action | 'all'} */
  let action = 'all'
  /** @type {(Action | 'all')[]} */
  const keys = ['all', ...ACTIONS]
  const chips = keys.map((key) => ({
    key,
    button: make('button', { type: 'button', class: 'chip', onclick: () => setAction(key) }),
  }))
  /** @param {string} label @param {[string, string][]} options */
  const select = (label, options) =>
    make(
      'select',
      { 'aria-label': label, onchange: onChange },
      ...options.map(([value, word]) => make('option', { value }, word)),
    )
  /** @param {string} name @param {string} placeholder */
  const bound = (name, placeholder) =>
    make('input', {
      type: 'number',
      min: 0,
      max: 1,
      step: 0.01,
      inputmode: 'decimal',
      'aria-label': name,
      placeholder,
      oninput: onChange,
    })
  const state = select('Decision', STATES)
  const reason = select('Reason', [['', 'Any reason']])
  const name = make('input', { type: 'search', placeholder: 'Part of a name', oninput: onChange })
  const category = select('Category', [['', 'Any category']])
  const categoryFrom = bound('Category from', 'rule')
  const low = bound('Score from', '0')
  const high = bound('Score to', '1')
  const clear = make('button', { type: 'button', class: 'quiet', onclick: reset }, 'Clear filters')
  /** @param {string} label @param {HTMLElement} control */
  const field = (label, control) =>
    make('label', { class: 'filter' }, make('span', {}, label), control)
  const categoryField = make(
    'div',
    { class: 'filter category-range', role: 'group', 'aria-label': 'Category', hidden: true },
    make('span', {}, 'Category'),
    category,
    make('span', {}, 'from'),
    categoryFrom,
  )
  categoryFrom.title =
    'The probability from which an image is shown. Empty: the threshold of its rule, or 0.50 without one.'
  const fields = make(
    'div',
    { class: 'filters', role: 'group', 'aria-label': 'Filters', id: 'grid-filters' },
    field('Decision', state),
    field('Reason', reason),
    categoryField,
    field('Name', name),
    make(
      'div',
      { class: 'filter score-range', role: 'group', 'aria-label': 'Score range' },
      make('span', {}, 'Score'),
      low,
      make('span', {}, 'to'),
      high,
    ),
    clear,
  )
  const toggle = make('button', {
    type: 'button',
    class: 'quiet',
    'aria-controls': fields.id,
    onclick: () => setOpen(fields.hidden),
  })
  setOpen(false)

  /** @param {boolean} open */
  function setOpen(open) {
    fields.hidden = !open
    toggle.setAttribute('aria-expanded', String(open))
  }

  /** @param {Action | 'all'} wanted */
  function setAction(wanted) {
    action = wanted
    onChange()
  }

  function reset() {
    action = 'all'
    state.value = 'any'
    reason.value = category.value = ''
    for (const input of [name, low, high, categoryFrom]) input.value = ''
    onChange()
  }

  /**
   * The criteria that the fields describe; read once for all cards.
   *
   * @returns {Criteria}
   */
  function criteria() {
    return {
      action,
      state: STATES[state.selectedIndex][0],
      reason: reason.value,
      category: /** @type {CategoryChoice} */ (category.value),
      categoryFrom: numberIn(categoryFrom),
      name: name.value.trim().toLowerCase(),
      low: numberIn(low),
      high: numberIn(high),
    }
  }

  /**
   * Writes counts by action on the chips, of the cards that pass all other criteria.
   *
   * @param {Record<Action, number>} counts
   */
  function drawCounts(counts) {
    const all = Object.values(counts).reduce((sum, count) => sum + count, 0)
    for (const { key, button } of chips) {
      const words = key === 'all' ? `All ${all}` : `${ACTION_WORDS[key]} ${counts[key]}`
      if (button.textContent !== words) button.textContent = words
      button.setAttribute('aria-pressed', String(action === key))
    }
    const active = countActive(criteria())
    clear.disabled = active === 0 && action === 'all'
    const words = active ? `Filters, ${active} active` : 'Filters'
    if (toggle.textContent !== words) toggle.textContent = words
  }

  /**
   * Offers the reasons that are in use, and the selected one.
   *
   * @param {Set<string>} codes
   */
  function offerReasons(codes) {
    const offered = [...new Set([...codes, reason.value])].filter(Boolean).sort()
    const present = [...reason.options].slice(1).map(({ value }) => value)
    if (offered.join() === present.join()) return
    const { value } = reason
    const options = offered.map((code) => make('option', { value: code }, reasonWord(code)))
    reason.replaceChildren(reason.options[0], ...options)
    reason.value = value
  }

  /**
   * Offers the categories that a model judged; without any, the field is hidden.
   *
   * @param {Set<string>} judged
   */
  function offerCategories(judged) {
    if (!judged.size) return
    const { value } = category
    const offered = CATEGORY_WORDS.filter(([code]) => judged.has(code))
    category.replaceChildren(
      category.options[0],
      ...offered.map(([code, word]) => make('option', { value: code }, word)),
      make('option', { value: 'none' }, 'Not judged'),
    )
    category.value = value
    categoryField.hidden = false
  }

  return {
    chips: make(
      'div',
      { class: 'chips', role: 'group', 'aria-label': 'Filter by action' },
      ...chips.map(({ button }) => button),
    ),
    toggle,
    fields,
    criteria,
    drawCounts,
    offerReasons,
    offerCategories,
  }
}

/** @param {Criteria} criteria */
function countActive({ state, reason, category, name, low, high }) {
  const ranged = low !== null || high !== null
  return [state !== 'any', reason, category, name, ranged].filter(Boolean).length
}

/** @param {HTMLInputElement} input */
function numberIn(input) {
  const value = input.valueAsNumber
  return Number.isFinite(value) ? value : null
}
