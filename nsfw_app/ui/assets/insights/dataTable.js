// A table that scrolls by itself, by keyboard, too. On narrow screens each row is a list; a table
// with `kind` numbers keeps its columns, because a list of each of a hundred rows cannot be compared.

import { make } from '../shared/dom.js'

const DATE = /^\d{4}-\d\d-\d\d$/

/**
 * @template R
 * @param {string} label
 * @param {R[]} rows
 * @param {[string, (row: R) => string][]} columns
 * @param {'texts' | 'numbers'} [kind]
 */
export function dataTable(label, rows, columns, kind = 'texts') {
  const titles = columns.map(([title]) => make('th', { scope: 'col' }, title))
  const lines = rows.map((row) =>
    make(
      'tr',
      {},
      ...columns.map(([title, cell]) => {
        const text = cell(row)
        return make('td', { 'data-title': title, class: DATE.test(text) ? 'date' : null }, text)
      }),
    ),
  )
  return make(
    'div',
    { class: `table ${kind}`, role: 'region', tabindex: '0', 'aria-label': label },
    make('table', {}, make('thead', {}, make('tr', {}, ...titles)), make('tbody', {}, ...lines)),
  )
}
