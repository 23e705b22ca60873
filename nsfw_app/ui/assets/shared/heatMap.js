// Drawing of an explanation over an image, and of the progress until it is there.
//
// The map is an SVG with the image's own size as its view box: the browser fits it into the preview as
// it fits the image itself, at any size and zoom.

/** @import { Explanation } from './explanationRequest.js' */
/** @import { Size } from './heatGeometry.js' */

import { colorOf } from './colorScale.js'
import { make, makeSvg } from './dom.js'
import { cellsOf, describeMarked, outlineOf } from './heatGeometry.js'

/**
 * The map of an image: its cells in color, the marked area with an outline.
 *
 * @param {Explanation} explanation
 * @param {Size} size Of the image.
 */
export function heatMap(explanation, size) {
  const cells = cellsOf(explanation, size).map(({ value, ...rectangle }) =>
    makeSvg('rect', { ...rectangle, fill: colorOf(value) }),
  )
  const d = outlineOf(explanation, size)
  return makeSvg(
    'svg',
    {
      class: 'heat-map',
      viewBox: `0 0 ${size.width} ${size.height}`,
      role: 'img',
      'aria-label': `Heat map. ${describeMarked(explanation)}`,
    },
    makeSvg('g', { class: 'heat-cells' }, ...cells),
    makeSvg('path', { class: 'heat-outline casing', d }),
    makeSvg('path', { class: 'heat-outline', d }),
  )
}

/**
 * A ring that fills as a computation proceeds, in the middle of an element.
 *
 * @param {HTMLElement} parent
 */
export function progressRing(parent) {
  const arc = makeSvg('circle', { class: 'ring-arc', cx: 18, cy: 18, r: 15.9155 }) // 100 around
  const words = make('span')
  const element = make(
    'div',
    {
      class: 'heat-ring',
      role: 'progressbar',
      'aria-label': 'Heat map',
      'aria-valuemin': 0,
      'aria-valuemax': 100,
    },
    makeSvg(
      'svg',
      { viewBox: '0 0 36 36', 'aria-hidden': 'true' },
      makeSvg('circle', { class: 'ring-track', cx: 18, cy: 18, r: 15.9155 }),
      arc,
    ),
    words,
  )
  parent.append(element)
  return {
    remove: () => element.remove(),
    /** @param {number} progress In [0, 1]. */
    draw(progress) {
      const percent = Math.round(100 * progress)
      arc.setAttribute('stroke-dasharray', `${percent} 100`)
      element.setAttribute('aria-valuenow', String(percent))
      words.textContent = `${percent} %`
    },
  }
}
