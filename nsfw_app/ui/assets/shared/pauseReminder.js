// A reminder to pause after every N revealed images. It blocks nothing and takes neither focus nor
// keys.

import { make } from './dom.js'
import { revealedToday } from './revealCounter.js'
import { status } from './server.js'

const notice = make('div', { class: 'pause', role: 'status' })

const dismiss = () => notice.replaceChildren()

/** @param {number} count */
function remind(count) {
  const button = make('button', { type: 'button', class: 'quiet', onclick: dismiss }, 'Dismiss')
  button.addEventListener('pointerdown', (event) => event.preventDefault())
  const images = count === 1 ? 'One image' : `${count} images`
  notice.replaceChildren(make('p', {}, `${images} revealed today. Consider a short break.`), button)
}

/**
 * Adds the notice to the page, empty until it is due: screen readers ignore a live region that is
 * added only when it has text.
 */
export function startPauseReminder() {
  document.body.append(notice)
  revealedToday.subscribe((count, previous) => {
    const pauseAfter = status.value?.pause_after
    if (!pauseAfter || previous === null) return
    if (Math.floor(count / pauseAfter) > Math.floor(previous / pauseAfter)) remind(count)
  })
}
