// The Log tab's table, built from a page of rows that the server filtered.

import { reasonWord } from '../shared/decisionForm.js'
import { make } from '../shared/dom.js'

const root = new URL('../../', import.meta.url)

const COLUMNS = [
  ['When (UTC)', (row) => row.decided_at.slice(0, 19).replace('T', ' ')],
  ['Reviewer', (row) => row.reviewer],
  ['Image', (row) => make('span', { title: row.image_sha256 }, row.name)],
  ['Score', (row) => row.nsfw_score.toFixed(3)],
  ['Threshold', (row) => row.threshold.toFixed(2)],
  ['Model says', (row) => row.model_label],
  ['Reviewer says', (row) => make('b', {}, row.reviewer_label)],
  ['', (row) => (row.undone ? 'Undone' : row.agrees ? 'Agrees' : 'Disagrees')],
  ['Reasons', (row) => row.reasons.map(reasonWord).join(', ')],
  ['Note', (row) => row.note],
  ['Model', (row) => make('span', { title: row.revision }, row.model)],
]

/** Draws the value now and whenever it changes. */
export function mount(element, props, watch) {
  const draw = () => element.replaceChildren(...parts(props.value))
  watch('value', draw)
  document.addEventListener('log:typing', () => {
    for (const link of element.querySelectorAll('a.button')) {
      link.removeAttribute('href')
      link.setAttribute('aria-disabled', 'true')
    }
  })
  draw()
}

function parts(value) {
  if (!value?.rows) return []
  const { rows, first, total, query } = value
  const link = (format, word) =>
    make(
      'a',
      {
        id: `export-${format}`,
        class: 'button',
        href: new URL(`log.${format}?${query}`, root).href,
        download: `corrections.${format}`,
      },
      word,
    )
  const shown = total
    ? `Rows ${first} to ${first + rows.length - 1} of ${total}`
    : 'No answers match'
  const head = make(
    'div',
    { class: 'log-head' },
    make('span', { role: 'status' }, shown),
    make('span', { class: 'buttons' }, link('csv', 'Export CSV'), link('jsonl', 'Export JSONL')),
  )
  if (!total) {
    return [
      head,
      make(
        'p',
        { class: 'empty' },
        'Answer an image in Review or Gallery, or widen the filter above.',
      ),
    ]
  }
  const titles = COLUMNS.map(([title]) => make('th', { scope: 'col' }, title || 'Answer'))
  const lines = rows.map((row) =>
    make(
      'tr',
      { class: row.undone ? 'undone' : row.agrees ? '' : 'disagrees' },
      ...COLUMNS.map(([title, cell]) => make('td', { 'data-title': title || 'Answer' }, cell(row))),
    ),
  )
  const table = make(
    'table',
    {},
    make('thead', {}, make('tr', {}, ...titles)),
    make('tbody', {}, ...lines),
  )
  return [
    head,
    make(
      'div',
      { class: 'table', role: 'region', tabindex: '0', 'aria-label': 'Decisions' },
      table,
    ),
  ]
}
