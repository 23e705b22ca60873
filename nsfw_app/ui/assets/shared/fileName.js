// The name of a file on one line: when it is cut, its end stays, with the number and the extension.

import { make } from './dom.js'

const END = 10 // characters that are never cut

const characters = new Intl.Segmenter()

/**
 * The name in two parts; the second one is never cut. Neither begins or ends with a space at the
 * cut, since lines drop those.
 *
 * @param {string} name
 * @returns {[string, string]}
 */
export function splitName(name) {
  const starts = [...characters.segment(name)].map(({ index }) => index)
  if (starts.length <= 2 * END) return [name, '']
  let at = starts.length - END
  while (at > 1 && /\s/.test(name.slice(starts[at - 1], starts[at + 1]))) at -= 1
  return [name.slice(0, starts[at]), name.slice(starts[at])]
}

/**
 * An element with the name, in the direction of its script.
 *
 * @param {string} name
 */
export function fileName(name) {
  const [start, end] = splitName(name)
  return make(
    'span',
    { class: 'name one-line', dir: 'auto', title: name },
    make('span', { class: 'name-start' }, start),
    end && make('span', { class: 'name-end' }, end),
  )
}
