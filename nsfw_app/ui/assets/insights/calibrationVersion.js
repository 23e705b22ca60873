// The calibration that exports use: which version is in force, and fitting the next one.

import { make } from '../shared/dom.js'
import { get, jsonOf, jsonPost, messageOf, request } from '../shared/requests.js'
import { whole } from './finder.js'

/** @typedef {{ version: number, reviews: number, fitted_at: string }} Version */

const NONE = 'Exports have no probabilities yet: no calibration is stored.'

export function makeCalibrationVersion() {
  let model = ''
  let number = 0 // of the latest request
  let fitting = false
  const text = make('p', { role: 'status' })
  const refit = make(
    'button',
    { id: 'refit-calibration', type: 'button', onclick: () => load(fit) },
    'Refit calibration',
  )

  const path = () => `calibrations?${new URLSearchParams({ model })}`
  const read = () => get(path())
  async function fit() {
    fitting = true
    try {
      return await jsonOf(await request(path(), jsonPost({})))
    } finally {
      fitting = false
    }
  }

  /** @param {() => Promise<{ calibration: Version | null }>} ask */
  async function load(ask) {
    const mine = ++number
    refit.disabled = ask === fit || fitting // not while it is read: a click would be lost
    try {
      const { calibration } = await ask()
      if (mine === number) text.textContent = describe(calibration)
    } catch (error) {
      if (mine === number) text.textContent = messageOf(error)
    }
    if (mine === number) refit.disabled = false
  }

  return {
    element: make('div', { class: 'calibration-version' }, text, refit),
    /** @param {string} name Of the model. */
    show(name) {
      if (fitting && name === model) return // its answer is newer
      if (name !== model) text.textContent = 'Loading...'
      model = name
      load(read)
    },
  }
}

/** @param {Version | null} calibration */
function describe(calibration) {
  if (!calibration) return NONE
  const { version, reviews, fitted_at: at } = calibration
  return `Probabilities in exports are by version ${version}, of ${whole(reviews)} reviews, ${at.slice(0, 10)}.`
}
