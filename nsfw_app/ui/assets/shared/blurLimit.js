// Blur that was turned off is turned on again: after 15 minutes without input, and when the page was
// hidden for a minute.

import { notify } from './notices.js'
import { blurred, setBlur } from './preview.js'

const IDLE_MS = 15 * 60_000
const HIDDEN_MS = 60_000
const INPUT = ['pointerdown', 'pointermove', 'keydown', 'wheel', 'touchstart']

/** Watches input and visibility from now on. */
export function startBlurLimit() {
  let lastInput = Date.now()
  /** @type {number | null} */
  let hiddenSince = document.hidden ? Date.now() : null
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer

  function check() {
    clearTimeout(timer)
    if (blurred.value) return
    const idleUntil = lastInput + IDLE_MS
    const hiddenUntil = hiddenSince === null ? Number.POSITIVE_INFINITY : hiddenSince + HIDDEN_MS
    const rest = Math.min(idleUntil, hiddenUntil) - Date.now()
    if (rest > 0) {
      timer = setTimeout(check, rest)
      return
    }
    setBlur(true)
    const why = hiddenUntil < idleUntil ? 'the page was hidden' : 'there was no input'
    notify('blur', `Blur is on again, because ${why} for a while.`)
  }

  blurred.subscribe((on) => {
    if (on) clearTimeout(timer)
    else {
      lastInput = Date.now()
      check()
    }
  })
  for (const type of INPUT) {
    // A machine that slept wakes up with an input, before any timer.
    const onInput = () => {
      if (!blurred.value) check()
      lastInput = Date.now()
    }
    document.addEventListener(type, onInput, { capture: true, passive: true })
  }
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) hiddenSince = Date.now()
    check()
    if (!document.hidden) hiddenSince = null
  })
}
