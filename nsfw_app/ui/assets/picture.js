// A picture nobody asked to see is 24 pixels wide. The real one is fetched on reveal and let go after.

import { make, shown } from './dom.js'
import { pictureUrl } from './server.js'

let blurred = true
const pictures = new Set()

/** Turns blur off or on for every picture on the page. */
export function toggleBlur() {
  blurred = !blurred
  for (const picture of pictures) {
    if (!picture.isConnected) pictures.delete(picture)
    else if (blurred) hide(picture)
    else reveal(picture)
  }
  document.dispatchEvent(new CustomEvent('blur', { detail: blurred }))
  return blurred
}

/** A hidden picture of a judged image. `size` is picture or thumbnail. */
export function makePicture(image, size) {
  const picture = make('div', { class: 'picture' })
  if (!image.placeholder) {
    picture.append(make('span', { class: 'no-picture' }, 'No picture'))
    return picture
  }
  picture.dataset.src = pictureUrl(image, size)
  picture.append(
    make('img', {
      class: 'placeholder',
      src: image.placeholder,
      alt: 'Hidden image',
      draggable: 'false',
    }),
  )
  if (image.width) picture.style.setProperty('--ratio', `${image.width} / ${image.height}`)
  pictures.add(picture)
  if (!blurred) reveal(picture)
  return picture
}

/** Shows the real pixels. */
export function reveal(picture) {
  if (!picture?.dataset.src || picture.querySelector('.real')) return
  picture.append(
    make('img', {
      class: 'real',
      src: picture.dataset.src,
      alt: 'Image, not blurred',
      loading: 'lazy',
    }),
  )
  picture.classList.add('revealed')
}

/** Takes the real pixels away again. */
export function hide(picture) {
  picture?.querySelector('.real')?.remove()
  picture?.classList.remove('revealed')
}

/** Hides after a hold, unless blur is off altogether. */
export function endHold(picture) {
  if (blurred) hide(picture)
}

/** A button that shows a picture while it is held, or by Enter and Space until pressed again. */
export function revealButton(picture) {
  const button = make('button', { type: 'button', class: 'quiet reveal', 'aria-pressed': 'false' })
  button.append('Hold to see', make('kbd', {}, 'V'))
  const show = (event) => {
    event.preventDefault()
    reveal(picture)
  }
  button.addEventListener('pointerdown', show)
  for (const type of ['pointerup', 'pointerleave', 'pointercancel']) {
    button.addEventListener(type, () => endHold(picture))
  }
  button.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' && event.key !== ' ') return
    event.preventDefault()
    event.stopPropagation()
    const revealed = picture.classList.contains('revealed')
    if (revealed) hide(picture)
    else reveal(picture)
    button.setAttribute('aria-pressed', String(!revealed))
  })
  return button
}

/** Hides what was revealed when the tab of the browser is left. */
document.addEventListener('visibilitychange', () => {
  if (!document.hidden || !blurred) return
  for (const picture of pictures) if (shown(picture)) hide(picture)
})
