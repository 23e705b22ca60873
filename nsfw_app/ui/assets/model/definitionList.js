// A section of names and values.

/** @typedef {{ title: string, rows: [string, string][] }} Section */

import { make } from '../shared/dom.js'

/** @param {Section} section */
export function definitionList({ title, rows }) {
  return make(
    'section',
    { class: 'definition-list' },
    make('h2', {}, title),
    make('dl', {}, ...rows.flatMap(([name, text]) => [make('dt', {}, name), make('dd', {}, text)])),
  )
}
