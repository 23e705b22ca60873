// The loupe: one image at 80 % of the height of the screen, blurred until revealed, over the open
// tab. The tab's keys keep working; on moving to another image the loupe follows.

/** @import { Image } from './server.js' */

import { closest, make } from './dom.js'
import { cancelExplanation } from './explanation.js'
import { makeExplanationBox } from './explanationBox.js'
import { makeExplanationButton } from './explanationButton.js'
import { fileName } from './fileName.js'
import { scaleLimits } from './loupeView.js'
import { Preview } from './preview.js'

const ZOOM = 1.25 // of one step
const FRAME_MS = 150 // of rest, before another frame is asked for

/**
 * @typedef {object} Shown
 * @property {string} [text] The verdict and the decision.
 * @property {Node[]} [categories] Drawn in a line of their own.
 * @property {() => void} [onClose]
 */

/** @type {Loupe | null} The one that is open. */
let open = null

/** Whether the loupe is open. */
export const isLoupeOpen = () => open !== null

/**
 * What is revealed and hidden in place of a tab's own preview: the loupe, while it is open.
 *
 * @param {Preview | null | undefined} preview
 */
export const inLoupe = (preview) => open ?? preview

/**
 * Opens the loupe, or closes it when it is open. `onClose` puts the focus back; without it, the
 * element that had the focus gets it.
 *
 * @param {Image | null | undefined} image
 * @param {Preview | null | undefined} preview Of the tab: it is hidden while the loupe shows the image.
 * @param {Shown} [shown]
 */
export function toggleLoupe(image, preview, shown = {}) {
  if (open) {
    closeLoupe()
    return
  }
  if (!image?.placeholder) return
  open = new Loupe(shown.onClose)
  open.show(image, preview, shown)
}

/**
 * Shows another image, or the same one with other words, if the loupe is open. It closes when
 * there is no image.
 *
 * @param {Image | null | undefined} image
 * @param {Preview | null | undefined} preview
 * @param {Shown} [shown]
 */
export function followInLoupe(image, preview, shown = {}) {
  if (!open) return
  if (image) open.show(image, preview, shown)
  else closeLoupe()
}

/** Closes the loupe. The focus returns. */
export function closeLoupe() {
  open?.close()
}

class Loupe {
  /** @type {Preview | null} */
  #preview = null
  /** @type {Image | null} */
  #image = null
  #frame = 0
  /** Of the image's own pixels; null fits the stage. @type {number | null} */
  #scale = null
  #turns = 0
  #x = 0
  #y = 0
  #dragged = false
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer
  #onClose
  #focused = document.activeElement
  #listening = new AbortController()

  #box = make('div', { class: 'loupe-image' })
  #stage = make('div', { class: 'loupe-stage' }, this.#box)
  #title = make('div', { class: 'loupe-title' })
  #text = make('p', { class: 'loupe-text', role: 'status' })
  #categories = make('div', { class: 'loupe-line loupe-categories' })
  #reveal = make('span')
  #frames = make('div', { class: 'loupe-frames' })
  #explain = makeExplanationButton({
    image: () => this.#image,
    say: (words) => {
      this.#text.textContent = words
    },
  })
  #explanation = makeExplanationBox()
  #resized = new ResizeObserver(() => this.#draw())
  #zoomIn = button('Zoom in', '+', () => this.#zoom(ZOOM))
  #zoomOut = button('Zoom out', '-', () => this.#zoom(1 / ZOOM))
  #percent = make('output', { class: 'loupe-percent', 'aria-label': 'Zoom' })
  #element = make(
    'div',
    { class: 'loupe region', role: 'dialog', 'aria-modal': 'true', tabindex: '-1' },
    make(
      'div',
      { class: 'loupe-line' },
      this.#title,
      this.#text,
      button('Close', 'Enter', () => this.close()),
    ),
    this.#categories,
    this.#stage,
    make(
      'div',
      { class: 'loupe-line' },
      this.#reveal,
      this.#explain.element,
      this.#zoomOut,
      this.#percent,
      this.#zoomIn,
      button('Fit', '0', () => this.#fit()),
      button('Rotate', 'R', () => this.#turn()),
      this.#frames,
    ),
    this.#explanation.element,
  )

  /** @param {(() => void) | undefined} onClose */
  constructor(onClose) {
    this.#onClose = onClose
    const { signal } = this.#listening
    const element = this.#element
    document.body.append(element)
    element.addEventListener('keydown', (event) => this.#onKey(event))
    element.addEventListener('click', (event) => this.#takeFocus(event))
    this.#stage.addEventListener('wheel', (event) => this.#onWheel(event), { passive: false })
    this.#stage.addEventListener('pointerdown', (event) => this.#onPointer(event))
    this.#stage.addEventListener('click', (event) => this.#dragged && event.stopPropagation(), true)
    this.#resized.observe(this.#stage)
    document.addEventListener('focusin', (event) => this.#keepFocus(event), { signal })
    // A notice can open another tab, which has its own images.
    document.addEventListener('click', (event) => closest(event, '[role="tab"]') && this.close(), {
      signal,
    })
    element.focus()
  }

  /**
   * @param {Image} image
   * @param {Preview | null | undefined} own
   * @param {Shown} shown
   */
  show(image, own, { text = '', categories = [] }) {
    this.#text.textContent = text
    this.#categories.replaceChildren(...categories)
    this.#categories.hidden = !categories.length
    if (image === this.#image) return
    own?.conceal()
    this.#image = image
    this.#frame = image.frame ?? 0
    this.#turns = 0
    this.#element.setAttribute('aria-label', `Loupe: ${image.name}`)
    this.#title.replaceChildren(fileName(image.name))
    this.#drawFrames()
    this.#explain.draw()
    this.#setPreview(image)
    this.#fit()
  }

  reveal() {
    this.#preview?.reveal()
  }

  /** Hides, unless blur is off: also a frame that came on screen since it was revealed. */
  conceal() {
    this.#preview?.conceal()
  }

  close() {
    this.#preview?.hide()
    clearTimeout(this.#timer)
    this.#listening.abort()
    this.#resized.disconnect()
    this.#explain.remove()
    this.#explanation.remove()
    open = null
    const inside = this.#element.contains(document.activeElement)
    this.#element.remove()
    if (this.#onClose) this.#onClose()
    else if (inside && this.#focused instanceof HTMLElement) this.#focused.focus()
  }

  /** @param {Image} image */
  #setPreview(image) {
    this.#preview?.hide()
    this.#preview = new Preview(image, 'picture')
    this.#box.replaceChildren(this.#preview.element)
    this.#reveal.replaceChildren(image.placeholder ? this.#preview.makeButton() : '')
  }

  /** Frames of an animation: any, while the file is in the page; else the one that was judged. */
  #drawFrames() {
    const { frames = 1, frame: judged = 0, file } = /** @type {Image} */ (this.#image)
    this.#frames.replaceChildren()
    if (frames < 2) return
    if (!file) {
      this.#frames.append(
        `Frame ${judged + 1} of ${frames}, the one that was judged. No other one is stored.`,
      )
      return
    }
    const words = make('output', { class: 'loupe-frame' })
    const range = make('input', {
      type: 'range',
      min: 1,
      max: frames,
      value: judged + 1,
      'aria-label': 'Frame',
      list: 'loupe-judged',
    })
    const back = button('Judged frame', 'J', () => this.#turnTo(judged))
    const draw = () => {
      const isJudged = this.#frame === judged
      words.textContent = `Frame ${this.#frame + 1} of ${frames}, ${isJudged ? 'the judged one' : `judged: ${judged + 1}`}`
      range.setAttribute('aria-valuetext', words.textContent)
      range.value = String(this.#frame + 1)
      back.disabled = isJudged
    }
    range.addEventListener('input', () => this.#turnTo(range.valueAsNumber - 1))
    this.#drawFrame = draw
    const mark = make('datalist', { id: 'loupe-judged' }, make('option', { value: judged + 1 }))
    this.#frames.append(range, mark, words, back)
    draw()
  }

  #drawFrame = () => {}

  /** @param {number} frame */
  #turnTo(frame) {
    const image = /** @type {Image} */ (this.#image)
    const { frame: judged = 0, frames = 1 } = image
    if (frame < 0 || frame >= frames || frame === this.#frame) return
    this.#frame = frame
    this.#drawFrame()
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      const revealed = this.#preview?.revealed
      // The server stores the judged frame only; another one is rendered from the file.
      this.#setPreview(frame === judged ? image : { ...image, frame, kept: false })
      if (revealed) this.#preview?.reveal()
      this.#draw()
    }, FRAME_MS)
  }

  #fit() {
    this.#scale = null
    this.#x = 0
    this.#y = 0
    this.#draw()
  }

  #turn() {
    this.#turns = (this.#turns + 1) % 4
    this.#fit()
  }

  #limits() {
    const { width = 1, height = 1 } = /** @type {Image} */ (this.#image)
    const { clientWidth, clientHeight } = this.#stage
    return scaleLimits({ width, height, turns: this.#turns }, [clientWidth, clientHeight])
  }

  /**
   * Zooms about a point, by default the middle of the stage.
   *
   * @param {number} by
   * @param {[number, number]} [point] From the middle of the stage, in pixels.
   */
  #zoom(by, [x, y] = [0, 0]) {
    const { fit, most } = this.#limits()
    const before = this.#scale ?? fit
    const after = Math.min(most, Math.max(fit, before * by))
    const ratio = after / before
    this.#scale = after === fit ? null : after
    this.#x = x - (x - this.#x) * ratio
    this.#y = y - (y - this.#y) * ratio
    this.#draw()
  }

  /**
   * @param {number} x
   * @param {number} y
   */
  #pan(x, y) {
    this.#x += x
    this.#y += y
    this.#draw()
  }

  #draw() {
    const { fit, most, size, turned } = this.#limits()
    const scale = Math.min(most, Math.max(fit, this.#scale ?? fit))
    const room = [this.#stage.clientWidth, this.#stage.clientHeight]
    const [reachX, reachY] = turned.map((side, at) => Math.max(0, (side * scale - room[at]) / 2))
    this.#x = Math.min(reachX, Math.max(-reachX, this.#x))
    this.#y = Math.min(reachY, Math.max(-reachY, this.#y))
    const { style } = this.#box
    style.width = `${size[0] * scale}px`
    style.height = `${size[1] * scale}px`
    style.transform = `translate(-50%, -50%) translate(${this.#x}px, ${this.#y}px) rotate(${90 * this.#turns}deg)`
    this.#stage.classList.toggle('movable', reachX + reachY > 0)
    this.#percent.textContent = `${Math.round(100 * scale)} %`
    this.#zoomOut.disabled = scale <= fit
    this.#zoomIn.disabled = scale >= most
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return
    const action = this.#actionOf(event)
    if (!action) return
    event.preventDefault()
    event.stopPropagation()
    action()
  }

  /**
   * What a key does here; undefined for a key of the tab, or of a control.
   *
   * @param {KeyboardEvent} event
   * @returns {(() => void) | undefined}
   */
  #actionOf(event) {
    const { key, code, shiftKey, target } = event
    if (key === 'Escape') return () => cancelExplanation() || this.close()
    if (key === 'Tab') return this.#turnFocus(shiftKey)
    if (target instanceof HTMLInputElement) return undefined // the frames' slider
    const step = 60
    /** @type {Record<string, () => void>} */
    const pans = {
      ArrowLeft: () => this.#pan(step, 0),
      ArrowRight: () => this.#pan(-step, 0),
      ArrowUp: () => this.#pan(0, step),
      ArrowDown: () => this.#pan(0, -step),
    }
    if (shiftKey && pans[key]) return pans[key]
    /** @type {Record<string, () => void>} */
    const actions = {
      '+': () => this.#zoom(ZOOM),
      '=': () => this.#zoom(ZOOM),
      '-': () => this.#zoom(1 / ZOOM),
      0: () => this.#fit(),
      KeyR: () => this.#turn(),
      '[': () => this.#turnTo(this.#frame - 1),
      ']': () => this.#turnTo(this.#frame + 1),
      KeyJ: () => this.#turnTo(this.#image?.frame ?? 0),
    }
    return actions[key] ?? actions[code]
  }

  /**
   * Keeps Tab among the controls of the loupe; undefined where the browser's own order does.
   *
   * @param {boolean} back
   */
  #turnFocus(back) {
    const controls = [...this.#element.querySelectorAll('button:enabled, input')]
    const [first, last] = [controls[0], controls[controls.length - 1]]
    const active = document.activeElement
    const leaving = back ? active === first || active === this.#element : active === last
    const next = back ? last : first
    return leaving && next instanceof HTMLElement ? () => next.focus() : undefined
  }

  /**
   * A tab puts the focus on its next image, which the loupe covers: it returns. A form that opens
   * takes it, and the loupe closes.
   *
   * @param {FocusEvent} event
   */
  #keepFocus({ target }) {
    if (!(target instanceof HTMLElement) || this.#element.contains(target)) return
    if (target.closest('dialog, .notices')) return
    if (!target.closest('form')) {
      this.#element.focus({ preventScroll: true })
      return
    }
    this.#onClose = () => {}
    this.close()
  }

  /**
   * A button that was clicked, or that has become disabled, gives the focus back: the keys go on.
   *
   * @param {MouseEvent} event
   */
  #takeFocus({ target, detail }) {
    const clicked = target instanceof Element ? target.closest('button') : null
    const control = clicked ?? document.activeElement
    const dead = control instanceof HTMLButtonElement && control.disabled
    if (this.#element.isConnected && (detail > 0 || dead)) {
      this.#element.focus({ preventScroll: true })
    }
  }

  /** @param {WheelEvent} event */
  #onWheel(event) {
    event.preventDefault()
    const { left, top, width, height } = this.#stage.getBoundingClientRect()
    const point = [event.clientX - left - width / 2, event.clientY - top - height / 2]
    this.#zoom(event.deltaY < 0 ? ZOOM : 1 / ZOOM, /** @type {[number, number]} */ (point))
  }

  /**
   * Dragging moves an image that is larger than the stage; a click that ends a drag reveals nothing.
   *
   * @param {PointerEvent} event
   */
  #onPointer(event) {
    this.#dragged = false
    if (event.button !== 0) return
    const done = new AbortController()
    const { signal } = done
    let { clientX: x, clientY: y } = event
    /** @param {PointerEvent} next */
    const move = (next) => {
      if (Math.hypot(next.clientX - event.clientX, next.clientY - event.clientY) > 4) {
        this.#dragged = true
      }
      this.#pan(next.clientX - x, next.clientY - y)
      x = next.clientX
      y = next.clientY
    }
    window.addEventListener('pointermove', move, { signal })
    window.addEventListener('pointerup', () => done.abort(), { signal })
    window.addEventListener('pointercancel', () => done.abort(), { signal })
  }
}

/**
 * @param {string} word
 * @param {string} key
 * @param {() => void} onclick
 */
function button(word, key, onclick) {
  return make('button', { type: 'button', class: 'quiet', onclick }, word, make('kbd', {}, key))
}
