// A picture nobody asked to see is 24 pixels wide. The real one is fetched on reveal and let go after.

import { make } from './dom.js'
import { onPreferences, preferences } from './preferences.js'
import { pictureUrl } from './server.js'

let blurred = true
const pictures = new Set() // weak references: a picture made ahead is not on the page yet
const buttons = new WeakMap()

function* living() {
  for (const reference of pictures) {
    const picture = reference.deref()
    if (picture) yield picture
    else pictures.delete(reference)
  }
}

/** Turns blur off or on for every picture on the page. */
export function toggleBlur() {
  blurred = !blurred
  for (const picture of living()) {
    if (blurred) hide(picture)
    else reveal(picture)
  }
  document.dispatchEvent(new CustomEvent('blur', { detail: blurred }))
  return blurred
}

/** Hides every picture again, unless blur is off altogether. To be called when moving on. */
export function hideAll() {
  for (const picture of living()) endHold(picture)
}

/** A hidden picture of a judged image. `size` is picture or thumbnail. */
export function makePicture(image, size) {
  const picture = make('div', { class: 'picture' })
  if (!image.placeholder) {
    picture.append(make('span', { class: 'no-picture' }, 'No picture'))
    return picture
  }
  picture.pixels = () => pictureUrl(image, size)
  picture.dataset.image = image.sha256
  picture.append(
    make('img', {
      class: 'placeholder',
      src: image.placeholder,
      alt: 'Hidden image',
      draggable: 'false',
    }),
  )
  if (image.width) picture.style.setProperty('--ratio', `${image.width} / ${image.height}`)
  picture.addEventListener('click', (event) => {
    const chosen = event.shiftKey || event.ctrlKey || event.metaKey // a selection, not a wish to see
    if (byClick() && !chosen && !event.target.closest('button')) toggle(picture)
  })
  pictures.add(new WeakRef(picture))
  if (!blurred) reveal(picture)
  return picture
}

const byClick = () => preferences().reveal === 'click'
const isRevealed = (picture) => picture.classList.contains('revealed')

/** How many pictures show their real pixels. */
export function revealedCount() {
  return [...living()].filter(isRevealed).length
}

/** Shows the real pixels. */
export function reveal(picture) {
  if (!picture?.pixels || picture.querySelector('.real')) return
  const real = make('img', {
    class: 'real',
    alt: 'Image, not blurred',
    loading: 'lazy',
    draggable: 'false',
  })
  real.addEventListener('load', () => real.isConnected && tellSeen(picture, real))
  picture.append(real)
  mark(picture, true)
  load(picture, real)
}

async function load(picture, real) {
  try {
    const url = await picture.pixels()
    if (real.isConnected) real.src = url
    else letGo(url)
  } catch (error) {
    real.replaceWith(make('span', { class: 'real no-picture', role: 'status' }, error.message))
  }
}

function letGo(url) {
  if (url.startsWith('blob:')) URL.revokeObjectURL(url)
}

/** Takes the real pixels away again. */
export function hide(picture) {
  const real = picture?.querySelector('.real')
  if (!real) return
  tellSeen(picture, real)
  if (real.src) letGo(real.src)
  real.remove()
  mark(picture, false)
}

function tellSeen(picture, { complete, naturalWidth }) {
  if (!complete || !naturalWidth) return // let go before it arrived
  const { image } = picture.dataset
  document.dispatchEvent(new CustomEvent('picture:seen', { detail: image }))
}

function mark(picture, revealed) {
  picture.classList.toggle('revealed', revealed)
  buttons.get(picture)?.setAttribute('aria-pressed', String(revealed))
}

/** Hides after a hold and when moving on, unless blur is off altogether. */
export function endHold(picture) {
  if (blurred) hide(picture)
}

function toggle(picture) {
  if (isRevealed(picture)) endHold(picture)
  else reveal(picture)
}

/** A button that shows a picture while it is held or until it is pressed again, as preferred. */
export function revealButton(picture) {
  const button = make(
    'button',
    { type: 'button', class: 'quiet reveal', 'aria-pressed': String(isRevealed(picture)) },
    make('span', { class: 'when-hold' }, 'Hold to see'),
    make('span', { class: 'when-click' }, 'Click to see'),
    make('kbd', {}, 'V'),
  )
  buttons.set(picture, button)
  button.addEventListener('pointerdown', (event) => {
    event.preventDefault()
    if (!byClick()) reveal(picture)
  })
  for (const type of ['pointerup', 'pointerleave', 'pointercancel']) {
    button.addEventListener(type, () => byClick() || endHold(picture))
  }
  button.addEventListener('click', () => byClick() && toggle(picture))
  button.addEventListener('contextmenu', (event) => event.preventDefault()) // a long touch is a hold
  button.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' && event.key !== ' ') return
    event.preventDefault()
    event.stopPropagation()
    if (!event.repeat) toggle(picture)
  })
  return button
}

let mode = null
onPreferences(({ reveal: wanted }) => {
  if (mode !== null && wanted !== mode) hideAll()
  mode = wanted
})

/** What was revealed is hidden when the tab of the browser, or that of the page, is left. */
document.addEventListener('visibilitychange', () => document.hidden && hideAll())
document.addEventListener('click', ({ target }) => target.closest?.('[role="tab"]') && hideAll())
