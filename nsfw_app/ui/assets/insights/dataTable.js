// A table that scrolls by itself; on narrow screens each row is a list.

import { make } from '../shared/dom.js'

/**
 * @template R
 * @param {string} label
 * @param {R[]} rows
 * @param {[string, (row: R) => string][]} columns
 */
export function dataTable(label, rows, columns) {
  const titles = columns.map(([title]) => make('th', { scope: 'col' }, title))
  const lines = rows.map((row) =>
    make(
      'tr',
      {},
      ...columns.map(([title, cell]) => make('td', { 'data-title': title }, cell(row))),
    ),
  )
  return make(
    'div',
    { class: 'table', role: 'region', tabindex: '0', 'aria-label': label },
    make('table', {}, make('thead', {}, make('tr', {}, ...titles)), make('tbody', {}, ...lines)),
  )
}
