// Previews, blurred until revealed. A hidden preview is a placeholder of 24 pixels; the unblurred
// pixels are fetched on reveal and dropped afterwards.

/** @import { ExplanationState } from './explanationRequest.js' */
/** @import { Image } from './server.js' */

import { closest, make } from './dom.js'
import { explanation } from './explanation.js'
import { noteExposure } from './exposure.js'
import { heatMap, progressRing } from './heatMap.js'
import { preferences } from './preferences.js'
import { messageOf, previewUrl } from './server.js'
import { signal } from './signal.js'

/** Whether blur is on. Reset to true with each visit. */
export const blurred = signal(true)

/** The SHA-256 of the image whose pixels were displayed last. */
export const displayed = signal(/** @type {string | null} */ (null))

/**
 * All previews; weak, because one can exist before its element is added to the page.
 *
 * @type {Set<WeakRef<Preview>>}
 */
const references = new Set()

function* previews() {
  for (const reference of references) {
    const preview = reference.deref()
    if (preview) yield preview
    else references.delete(reference)
  }
}

const isClickMode = () => preferences.value.reveal !== 'hold'

/**
 * Turns blur on or off for all previews.
 *
 * @param {boolean} on
 */
export function setBlur(on) {
  if (on === blurred.value) return
  blurred.value = on
  for (const preview of previews()) {
    if (blurred.value) preview.hide()
    else preview.reveal()
  }
}

export const toggleBlur = () => setBlur(!blurred.value)

/** Hides all previews, unless blur is off. To be called on moving to another image. */
export function hideAll() {
  for (const preview of previews()) preview.conceal()
}

/** The number of previews that are revealed. */
export function revealedCount() {
  return [...previews()].filter(({ revealed }) => revealed).length
}

/** The preview of one image. */
export class Preview {
  /** @type {HTMLImageElement | null} The unblurred pixels while revealed. */
  #pixels = null
  /** @type {HTMLButtonElement | null} */
  #button = null
  /** @type {ReturnType<typeof progressRing> | null} While the image is being explained. */
  #ring = null
  /** @type {SVGElement | null} */
  #map = null
  #image
  #size

  /**
   * @param {Image} image
   * @param {'picture' | 'thumbnail'} size
   */
  constructor(image, size) {
    this.#image = image
    this.#size = size
    this.element = make('div', { class: 'preview' })
    if (!image.placeholder) {
      this.element.append(make('span', { class: 'no-preview' }, 'No preview'))
      return
    }
    this.element.append(
      make('img', {
        class: 'placeholder',
        src: image.placeholder,
        alt: 'Hidden image',
        draggable: 'false',
      }),
    )
    if (image.width) {
      this.element.style.setProperty('--ratio', `${image.width} / ${image.height}`)
    }
    this.element.addEventListener('click', (event) => {
      const selecting = event.shiftKey || event.ctrlKey || event.metaKey
      if (isClickMode() && !selecting && !closest(event, 'button')) this.toggle()
    })
    references.add(new WeakRef(this))
    this.drawExplanation(explanation.value)
    if (!blurred.value) this.reveal()
  }

  get revealed() {
    return this.#pixels !== null
  }

  /** Shows the unblurred pixels. */
  reveal() {
    if (!this.#image.placeholder || this.#pixels) return
    const pixels = make('img', {
      class: 'real',
      alt: 'Image, not blurred',
      loading: 'lazy',
      draggable: 'false',
    })
    pixels.addEventListener('load', () => this.#pixels === pixels && this.#announce(pixels))
    this.#pixels = pixels
    this.element.append(pixels)
    this.#draw()
    this.#load(pixels)
  }

  /** @param {HTMLImageElement} pixels */
  async #load(pixels) {
    try {
      const url = await previewUrl(this.#image, this.#size)
      if (this.#pixels === pixels) pixels.src = url
      else revoke(url)
    } catch (error) {
      const message = make('span', { class: 'real no-preview', role: 'status' }, messageOf(error))
      if (this.#pixels === pixels) pixels.replaceWith(message)
    }
  }

  /** Removes the unblurred pixels. */
  hide() {
    const pixels = this.#pixels
    if (!pixels) return
    this.#pixels = null
    this.#announce(pixels)
    if (pixels.src) revoke(pixels.src)
    for (const shown of this.element.querySelectorAll('.real')) shown.remove()
    this.#draw()
  }

  /** Hides, unless blur is off. */
  conceal() {
    if (blurred.value) this.hide()
  }

  toggle() {
    if (this.revealed) this.conceal()
    else this.reveal()
  }

  /** @param {HTMLImageElement} pixels */
  #announce({ complete, naturalWidth }) {
    if (!complete || !naturalWidth) return // hidden before it arrived
    const { sha256 } = this.#image
    if (sha256) noteExposure(sha256, this.revealed)
    displayed.value = sha256 ?? null
  }

  #draw() {
    this.element.classList.toggle('revealed', this.revealed)
    this.#button?.setAttribute('aria-pressed', String(this.revealed))
  }

  /**
   * Shows the progress or the map of an explanation, if it is about this image, frame and model.
   *
   * @param {ExplanationState} state
   */
  drawExplanation(state) {
    const own = state.phase !== 'none' && isSame(state.image, this.#image) ? state : null
    if (!own && !this.#ring && !this.#map) return
    if (own?.phase === 'running') {
      this.#ring ??= progressRing(this.element)
      this.#ring.draw(own.progress)
    } else {
      this.#ring?.remove()
      this.#ring = null
    }
    this.#map?.remove()
    this.#map = null
    const { width, height } = this.#image
    if (own?.phase === 'done' && own.explanation.informative && width && height) {
      this.#map = heatMap(own.explanation, { width, height })
      this.element.append(this.#map)
    }
    this.element.classList.toggle('explained', this.#map !== null)
  }

  /** A button that reveals while held, or toggles, depending on the preferences. */
  makeButton() {
    const button = make(
      'button',
      { type: 'button', class: 'quiet reveal', 'aria-pressed': String(this.revealed) },
      make('span', { class: 'when-hold' }, 'Hold to see'),
      make('span', { class: 'when-click' }, 'Click to see'),
      make('kbd', {}, 'V'),
    )
    this.#button = button
    button.addEventListener('pointerdown', (event) => {
      event.preventDefault()
      if (!isClickMode()) this.reveal()
    })
    for (const type of ['pointerup', 'pointerleave', 'pointercancel']) {
      button.addEventListener(type, () => isClickMode() || this.conceal())
    }
    button.addEventListener('click', () => isClickMode() && this.toggle())
    button.addEventListener('contextmenu', (event) => event.preventDefault()) // a long touch holds
    button.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' && event.key !== ' ') return
      event.preventDefault()
      event.stopPropagation()
      if (!event.repeat) this.toggle()
    })
    return button
  }
}

/**
 * Whether two images have the same pixels, also the frame of an animation, and a score of the same
 * model.
 *
 * @param {Image} a
 * @param {Image} b
 */
function isSame(a, b) {
  const isSameModel = a.model === b.model && a.revision === b.revision && a.backend === b.backend
  return isSameModel && a.sha256 === b.sha256 && (a.frame ?? 0) === (b.frame ?? 0)
}

/** @param {string} url */
function revoke(url) {
  if (url.startsWith('blob:')) URL.revokeObjectURL(url)
}

explanation.subscribe((state) => {
  for (const preview of previews()) preview.drawExplanation(state)
})

let mode = preferences.value.reveal
preferences.subscribe(({ reveal }) => {
  if (reveal !== mode) hideAll()
  mode = reveal
})

// Leaving the browser's tab, or the page's, hides everything.
document.addEventListener('visibilitychange', () => document.hidden && hideAll())
document.addEventListener('click', (event) => closest(event, '[role="tab"]') && hideAll())
