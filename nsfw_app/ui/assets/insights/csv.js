// Numbers of a chart as CSV.

/** @typedef {(string | number | null)[]} Row */

const SPECIAL = /[",\n]/

/**
 * @param {string[]} columns
 * @param {Row[]} rows
 */
export function csvOf(columns, rows) {
  return [columns, ...rows].map((row) => `${row.map(field).join(',')}\n`).join('')
}

/** @param {string | number | null} value */
function field(value) {
  const text = value === null ? '' : String(value)
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
