// Headings with names and values below them, as the server lists them.

import { make } from '../shared/dom.js'

/** Draws the value now and whenever it changes. */
export function mount(element, props, watch) {
  const draw = () => element.replaceChildren(...[props.value || []].flat().map(section))
  watch('value', draw)
  draw()
}

function section({ title, rows }) {
  return make(
    'section',
    { class: 'facts' },
    make('h2', {}, title),
    make('dl', {}, ...rows.flatMap(([name, text]) => [make('dt', {}, name), make('dd', {}, text)])),
  )
}
