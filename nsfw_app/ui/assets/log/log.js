// The Log tab's table and export links, from a page of rows that the server filtered.

/** @import { Label, ModelLabel } from '../shared/policy.js' */

import { reasonWord } from '../shared/decisionForm.js'
import { make } from '../shared/dom.js'
import { deskUrl } from '../shared/server.js'

/**
 * @typedef {object} Row
 * @property {string} decided_at
 * @property {string} reviewer
 * @property {string} image_sha256
 * @property {string} name
 * @property {number} nsfw_score
 * @property {number} threshold
 * @property {ModelLabel} model_label
 * @property {Label} reviewer_label
 * @property {boolean} agrees
 * @property {boolean} undone
 * @property {string[]} reasons
 * @property {string} note
 * @property {string} model
 * @property {string} revision
 */

/**
 * @typedef {object} LogPage
 * @property {Row[]} rows
 * @property {number} first Number of the first row, from 1.
 * @property {number} total
 * @property {string} query The filter, for the export links.
 * @property {boolean} [stale] Whether a filter field was edited but not applied: no export then.
 */

/** @type {[string, (row: Row) => Node | string][]} */
const COLUMNS = [
  ['When (UTC)', (row) => row.decided_at.slice(0, 19).replace('T', ' ')],
  ['Reviewer', (row) => row.reviewer],
  ['Image', (row) => make('span', { title: row.image_sha256 }, row.name)],
  ['Score', (row) => row.nsfw_score.toFixed(3)],
  ['Threshold', (row) => row.threshold.toFixed(2)],
  ['Model label', (row) => row.model_label],
  ['Reviewer label', (row) => make('b', {}, row.reviewer_label)],
  ['Decision', (row) => (row.undone ? 'Undone' : row.agrees ? 'Agrees' : 'Disagrees')],
  ['Reasons', (row) => row.reasons.map(reasonWord).join(', ')],
  ['Note', (row) => row.note],
  ['Model', (row) => make('span', { title: row.revision }, row.model)],
]

/**
 * Draws the component's value now and whenever it changes.
 *
 * @param {HTMLElement} root
 * @param {{ props: { value: LogPage | null }, watch: (name: string, listener: () => void) => void }} component
 */
export function mount(root, { props, watch }) {
  const draw = () => root.replaceChildren(...(props.value?.rows ? drawPage(props.value) : []))
  watch('value', draw)
  draw()
}

/** @param {LogPage} page */
function drawPage({ rows, first, total, query, stale = false }) {
  const links = [
    exportLink('csv', 'Export CSV', query, stale),
    exportLink('jsonl', 'Export JSONL', query, stale),
  ]
  const range = total
    ? `Rows ${first} to ${first + rows.length - 1} of ${total}`
    : 'No decisions match'
  const head = make(
    'div',
    { class: 'log-head' },
    make('span', { role: 'status' }, range),
    make('span', { class: 'buttons' }, ...links),
  )
  if (!total) {
    const hint = 'Decide an image in Review or Gallery, or widen the filter above.'
    return [head, make('p', { class: 'empty' }, hint)]
  }
  const titles = COLUMNS.map(([title]) => make('th', { scope: 'col' }, title))
  const table = make(
    'table',
    {},
    make('thead', {}, make('tr', {}, ...titles)),
    make('tbody', {}, ...rows.map(drawRow)),
  )
  const attributes = { class: 'table', role: 'region', tabindex: '0', 'aria-label': 'Decisions' }
  return [head, make('div', attributes, table)]
}

/** @param {Row} row */
function drawRow(row) {
  return make(
    'tr',
    { class: row.undone ? 'undone' : row.agrees ? '' : 'disagrees' },
    ...COLUMNS.map(([title, cell]) => make('td', { 'data-title': title }, cell(row))),
  )
}

/**
 * @param {string} format
 * @param {string} word
 * @param {string} query
 * @param {boolean} disabled
 */
function exportLink(format, word, query, disabled) {
  return make(
    'a',
    {
      id: `export-${format}`,
      class: 'button',
      href: disabled ? null : deskUrl(`log.${format}?${query}`),
      'aria-disabled': disabled ? 'true' : null,
      download: `corrections.${format}`,
    },
    word,
  )
}
