// The policy's numbers as lines that a pointer drags on a chart. Sliders do the same for the keyboard.

/** @import { Chart, Plot } from './chart.js' */
/** @import { Handle, Numbers } from './finder.js' */

import { nearestHandle } from './finder.js'

const REACH = 12 // pixels to each side of a line
const KNOB = { width: 10, height: 20 } // pixels

/**
 * @param {Chart} chart
 * @param {() => Numbers | null} numbersNow
 * @param {(handle: Handle, value: number) => void} move
 */
export function makeDraggable({ box, valueAt }, numbersNow, move) {
  /** @type {Handle | null} */
  let held = null

  /** @param {PointerEvent} event */
  function near(event) {
    const [numbers, at] = [numbersNow(), valueAt(event.clientX)]
    if (!numbers || !at) return null
    return nearestHandle(numbers, at.value, REACH * at.perPixel)
  }

  box.classList.add('draggable')
  box.addEventListener('pointerdown', (event) => {
    if (!event.isPrimary || event.button !== 0) return
    held = near(event)
    if (!held) return
    event.preventDefault() // no selection of text
    box.setPointerCapture(event.pointerId)
  })
  box.addEventListener('pointermove', (event) => {
    const at = valueAt(event.clientX)
    if (held && at) move(held, Math.min(1, Math.max(0, Math.round(100 * at.value) / 100)))
    else box.style.cursor = near(event) ? 'ew-resize' : ''
  })
  box.addEventListener('lostpointercapture', () => {
    held = null
  })
}

/**
 * Draws the grip of a line: a knob at its upper end.
 *
 * @param {Plot} plot
 * @param {number} value
 * @param {string} color
 * @param {string} background
 */
export function drawKnob(plot, value, color, background) {
  const { ctx, bbox } = plot
  const ratio = devicePixelRatio
  const [width, height] = [KNOB.width * ratio, KNOB.height * ratio]
  ctx.save()
  ctx.fillStyle = color
  ctx.strokeStyle = background
  ctx.lineWidth = 2 * ratio
  ctx.setLineDash([])
  ctx.beginPath()
  ctx.roundRect(plot.valToPos(value, 'x', true) - width / 2, bbox.top, width, height, width / 2)
  ctx.fill()
  ctx.stroke()
  ctx.restore()
}
