// Numbers of a chart as CSV that spreadsheets open safely, as `review/csv_lines.py` writes it.

/** @typedef {(string | number | null)[]} Row */

const SPECIAL = /[",\r\n]/
/** Text that a spreadsheet would run as a formula. */
const FORMULA = /^ *[=+\-@\t\r\n\0]/

/**
 * @param {string[]} columns
 * @param {Row[]} rows
 */
export function csvOf(columns, rows) {
  return [columns, ...rows].map((row) => `${row.map(field).join(',')}\n`).join('')
}

/** @param {string | number | null} value */
function field(value) {
  let text = value === null ? '' : String(value)
  if (typeof value === 'string' && FORMULA.test(text)) text = `'${text}`
  return SPECIAL.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

/**
 * Lets the browser save a file.
 *
 * @param {string} name
 * @param {string} text
 */
export function download(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: 'text/csv' }))
  const link = document.createElement('a')
  link.href = url
  link.download = name
  link.click()
  URL.revokeObjectURL(url)
}
