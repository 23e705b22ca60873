// The calibration that exports use: which version is in force, and fitting the next one.

import { make } from '../shared/dom.js'
import { get, jsonOf, jsonPost, messageOf, request } from '../shared/requests.js'
import { whole } from './finder.js'

/** @typedef {{ version: number, reviews: number, fitted_at: string }} Version */

const NONE = 'Exports have no probabilities yet: no calibration is stored.'

export function makeCalibrationVersion() {
  let model = ''
  const text = make('p', { role: 'status' })
  const refit = make(
    'button',
    { id: 'refit-calibration', type: 'button', onclick: () => load(fit) },
    'Refit calibration',
  )

  const path = () => `calibrations?${new URLSearchParams({ model })}`
  const read = () => get(path())
  const fit = async () => jsonOf(await request(path(), jsonPost({})))

  /** @param {() => Promise<{ calibration: Version | null }>} ask */
  async function load(ask) {
    const asked = model
    refit.disabled = true
    try {
      const { calibration } = await ask()
      if (asked === model) text.textContent = describe(calibration)
    } catch (error) {
      if (asked === model) text.textContent = messageOf(error)
    }
    refit.disabled = false
  }

  return {
    element: make('div', { class: 'calibration-version' }, text, refit),
    /** @param {string} name Of the model. */
    show(name) {
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
