// The color scale of heat maps: viridis, which is perceptually uniform, also for color-blind people.
// No DOM.
//
// Source: viridis by S. van der Walt and N. Smith (2015), CC0, at nine equal steps from 0 to 1.

const STEPS = [
  '#440154',
  '#472d7b',
  '#3b528b',
  '#2c728e',
  '#21918c',
  '#28ae80',
  '#5ec962',
  '#addc30',
  '#fde725',
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
