// The table of the log: one row for each decision, with a link to its image.

/** @import { Category, Label, ModelLabel } from '../shared/policy.js' */
/** @import { Image } from '../shared/server.js' */

import { categoriesText, categoryWords } from '../shared/categories.js'
import { reasonWord } from '../shared/decisionForm.js'
import { make } from '../shared/dom.js'
import { Preview } from '../shared/preview.js'

/**
 * @typedef {object} RowFields
 * @property {number} decision_id
 * @property {string} decided_at
 * @property {string} reviewer
 * @property {string} sha256
 * @property {number} nsfw_score
 * @property {number} threshold
 * @property {ModelLabel} model_label
 * @property {Label} reviewer_label
 * @property {boolean | null} agrees Null for unsure.
 * @property {boolean} undone
 * @property {string[]} reasons
 * @property {string} note
 * @property {Category[] | null} [categories] Null where the reviewer was not asked.
 * @property {Partial<Record<Category, number>> | null} [model_categories] As judged now.
 * @property {string} model
 * @property {string} revision
 * @property {string} backend
 * @property {boolean} kept Whether the caller can see its preview.
 * @property {boolean} own Whether the caller can correct it.
 * @property {boolean} restricted Shown to administrators only; false for others.
 */
/** @typedef {Image & RowFields} Row */

/** @type {[string, (row: Row, onOpen: (row: Row) => void) => Node | string][]} */
const COLUMNS = [
  ['Image', drawImage],
  ['When (UTC)', (row) => row.decided_at.slice(0, 19).replace('T', ' ')],
  ['Reviewer', (row) => row.reviewer],
  ['Score', (row) => row.nsfw_score.toFixed(3)],
  ['Threshold', (row) => row.threshold.toFixed(2)],
  ['Model label', (row) => row.model_label],
  ['Reviewer label', (row) => make('b', {}, row.reviewer_label)],
  ['Decision', describe],
  ['Categories', drawCategories],
  ['Reasons', (row) => row.reasons.map(reasonWord).join(', ')],
  ['Note', (row) => make('span', { dir: 'auto' }, row.note)],
  ['Model', (row) => make('span', { title: row.revision }, row.model)],
]

/**
 * Draws rows.
 *
 * @param {Row[]} rows
 * @param {(row: Row) => void} onOpen
 */
export function drawTable(rows, onOpen) {
  const titles = COLUMNS.map(([title]) => make('th', { scope: 'col' }, title))
  const table = make(
    'table',
    {},
    make('thead', {}, make('tr', {}, ...titles)),
    make('tbody', {}, ...rows.map((row) => drawRow(row, onOpen))),
  )
  const attributes = { class: 'table', role: 'region', tabindex: '0', 'aria-label': 'Decisions' }
  return make('div', attributes, table)
}

/** @param {Row} row @param {(row: Row) => void} onOpen */
function drawRow(row, onOpen) {
  return make(
    'tr',
    { class: row.undone ? 'undone' : row.agrees === false ? 'disagrees' : '' },
    ...COLUMNS.map(([title, cell]) => make('td', { 'data-title': title }, cell(row, onOpen))),
  )
}

/** @param {Row} row */
function describe({ undone, agrees, reviewer_label: label }) {
  if (undone) return 'Undone'
  if (label === 'unsure') return 'Unsure'
  return agrees ? 'Agrees' : 'Disagrees'
}

/** The reviewer's, empty where the form did not ask; the models' are the title. @param {Row} row */
function drawCategories({ categories, model_categories: judged }) {
  const title = judged
    ? `Models: ${categoriesText({ nsfw_score: null, categories: judged })}`
    : null
  const words = categories?.length ? categoryWords(categories) : 'None'
  return make('span', { title }, categories ? words : '')
}

/** @param {Row} row @param {(row: Row) => void} onOpen */
function drawImage(row, onOpen) {
  return make(
    'span',
    { class: 'log-thumbnail' },
    new Preview(row, 'thumbnail').element,
    make(
      'button',
      { type: 'button', class: 'link', dir: 'auto', title: row.sha256, onclick: () => onOpen(row) },
      row.name,
    ),
    row.restricted ? make('b', { class: 'restricted' }, 'Restricted') : null,
  )
}
