// A reminder to pause after every N revealed images.

import { notify } from './notices.js'
import { revealedToday } from './revealCounter.js'
import { status } from './server.js'

export function startPauseReminder() {
  revealedToday.subscribe((count, previous) => {
    const pauseAfter = status.value?.viewing_defaults?.pauseAfter ?? status.value?.pause_after
    if (!pauseAfter || previous === null) return
    if (Math.floor(count / pauseAfter) === Math.floor(previous / pauseAfter)) return
    const images = count === 1 ? 'One image' : `${count} images`
    notify('pause', `${images} revealed today. Consider a short break.`)
  })
}
