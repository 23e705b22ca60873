// The color scale of heat maps: cividis, whose equal steps look equal, also to people with any color
// vision deficiency, and in gray. No DOM.
//
// Source: Nuñez, Anderton and Renslow (2018), "Optimizing colormaps with consideration for color vision
// deficiency to enable accurate interpretation of scientific data". The same as in
// nsfw_app/imaging/heat_map.py.

const STEPS = [
  '#00224e',
  '#123570',
  '#3b496c',
  '#575d6d',
  '#707173',
  '#8a8678',
  '#a59c74',
  '#c3b369',
  '#e1cc55',
  '#fee838',
]

/** The scale from 0 to 1, as a CSS image. */
export const GRADIENT = `linear-gradient(to right, ${STEPS.join(', ')})`

/** @param {string} color As #rrggbb. */
const channels = (color) => [1, 3, 5].map((at) => Number.parseInt(color.slice(at, at + 2), 16))

/**
 * The color of a value, interpolated between the steps.
 *
 * @param {number} value In [0, 1].
 */
export function colorOf(value) {
  const place = Math.min(1, Math.max(0, value)) * (STEPS.length - 1)
  const below = Math.min(STEPS.length - 2, Math.floor(place))
  const [low, high] = [STEPS[below], STEPS[below + 1]].map(channels)
  const mixed = low.map((from, at) => Math.round(from + (high[at] - from) * (place - below)))
  return `rgb(${mixed.join(' ')})`
}
