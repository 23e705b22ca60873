// What the Review tab shows before an image is added: its purpose, and sample images.

import { make } from '../shared/dom.js'

const SAMPLES = [
  ['cat.jpg', 'A cat'],
  ['coffee.jpg', 'A cup of coffee'],
  ['astronaut.jpg', 'An astronaut'],
]

/** @param {string} file */
const addressOf = (file) => new URL(`samples/${file}`, import.meta.url).href

/**
 * Builds it.
 *
 * @param {(file: File) => void} onSample
 */
export function makeWelcome(onSample) {
  /** @param {string} name */
  async function add(name) {
    const response = await fetch(addressOf(name))
    onSample(new File([await response.blob()], name))
  }

  const samples = SAMPLES.map(([name, word]) =>
    make(
      'button',
      { type: 'button', class: 'quiet sample', onclick: () => add(name) },
      make('img', { src: addressOf(name), alt: '', width: 96, height: 96, loading: 'lazy' }),
      make('span', {}, word),
    ),
  )
  return make(
    'div',
    { class: 'empty welcome' },
    make(
      'p',
      { class: 'purpose' },
      'A model scores each image; you agree or disagree, and every decision is kept in a log.',
    ),
    make(
      'p',
      {},
      'Drop, paste or choose an image above. It is sent to this server only, and shown blurred.',
    ),
    make('p', {}, 'Or start with a harmless sample:'),
    make('div', { class: 'buttons' }, ...samples),
    make(
      'p',
      { class: 'source' },
      'Cat by Stéfan van der Walt and coffee by Rachel Michetti, both CC0; Eileen Collins by NASA, public domain. ' +
        'All three from scikit-image.',
    ),
  )
}
