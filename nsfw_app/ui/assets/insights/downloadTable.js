// A table of counts with its title and a download of the same numbers.

/** @import { Row } from './csv.js' */

import { make } from '../shared/dom.js'
import { csvOf, download } from './csv.js'
import { dataTable } from './dataTable.js'

/**
 * @template R
 * @param {object} options
 * @param {string} options.title
 * @param {string} options.file Name of the download, without its ending.
 * @param {[string, (row: R) => string][]} options.cells
 * @param {string[]} options.columns Of the download.
 * @param {(row: R) => Row} options.fields
 * @param {string} options.none A sentence in place of a table without rows.
 */
export function makeDownloadTable({ title, file, cells, columns, fields, none }) {
  /** @type {R[]} */
  let rows = []
  let shown = ''
  const body = make('div')
  const save = make(
    'button',
    {
      type: 'button',
      class: 'quiet',
      onclick: () => download(`${file}.csv`, csvOf(columns, rows.map(fields))),
    },
    'Download CSV',
  )
  save.setAttribute('aria-label', `Download CSV: ${title}`)
  return {
    element: make('div', { class: 'download-table' }, make('h3', {}, title), body, save),
    /** @param {R[]} next */
    show(next) {
      const text = JSON.stringify(next)
      if (text === shown) return // a redrawn table would lose the focus
      shown = text
      rows = next
      save.hidden = !rows.length
      body.replaceChildren(rows.length ? dataTable(title, rows, cells) : make('p', {}, none))
    },
  }
}
