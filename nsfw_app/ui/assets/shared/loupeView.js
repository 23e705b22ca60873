// How large the loupe shows an image. No DOM.

const PREVIEW_SIDE = 1600 // pixels, as the server makes previews
const MAX_ENLARGEMENT = 2 // pixels of the screen for one of the preview, along each side

/**
 * The size of the preview of an image, and the scales at which a stage shows it: `fit`, whole, to
 * `most`.
 *
 * @param {{ width: number, height: number, turns: number }} image `turns`: quarters, clockwise.
 * @param {[number, number]} stage Width and height in pixels.
 */
export function scaleLimits({ width, height, turns }, stage) {
  const reduced = Math.min(1, PREVIEW_SIDE / Math.max(width, height))
  const size = [width * reduced, height * reduced]
  const turned = turns % 2 ? [size[1], size[0]] : size
  const fit = Math.min(stage[0] / turned[0], stage[1] / turned[1], MAX_ENLARGEMENT)
  return { size, turned, fit, most: MAX_ENLARGEMENT }
}
