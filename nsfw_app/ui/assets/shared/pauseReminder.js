// A reminder after every so many revealed images. It asks for nothing and takes neither focus nor keys.

import { make } from './dom.js'
import { onTally } from './revealCounter.js'
import { onStatus } from './server.js'

let pauseAfter = 0
const notice = make('div', { class: 'pause', role: 'status' })

const dismiss = () => notice.replaceChildren()

function remind(count) {
  const button = make('button', { type: 'button', class: 'quiet', onclick: dismiss }, 'Dismiss')
  button.addEventListener('pointerdown', (event) => event.preventDefault())
  const images = count === 1 ? 'One image' : `${count} images`
  notice.replaceChildren(make('p', {}, `${images} revealed today. A pause fits well here.`), button)
}

/** Puts the notice on the page, empty until it is due. */
export function watchForPause() {
  document.body.append(notice) // early: only a region that is there already is read out
  onStatus((status) => {
    pauseAfter = status.pause_after
  })
  onTally((now, before) => {
    if (pauseAfter && Math.floor(now / pauseAfter) > Math.floor(before / pauseAfter)) remind(now)
  })
}
