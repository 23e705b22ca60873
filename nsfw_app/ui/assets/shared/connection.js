// Whether the server responds: a heartbeat every 1.5 s, so that an outage is noticed within 5 s.

/** @import { SavedState } from './savedState.js' */

import { signal } from './signal.js'

const BEAT_MS = 1500
const TIMEOUT_MS = 3000 // with BEAT_MS below 5 s
const address = new URL('../../heartbeat', import.meta.url)

/**
 * @typedef {object} Heartbeat What /desk/heartbeat returns.
 * @property {number} policy_version
 * @property {'loading' | 'ready' | 'failed'} state Of the model.
 * @property {string} started_at When the server started.
 * @property {SavedState | null} saved Where copies of the data are written; null where none are.
 */

/** @type {import('./signal.js').Signal<'online' | 'offline'>} */
export const connection = signal('online')

/** The latest heartbeat; null until the first one has arrived. */
export const heartbeat = signal(/** @type {Heartbeat | null} */ (null))

/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer
let started = false
/** @type {Promise<void> | null} */
let beating = null

/** Sends heartbeats from now on. */
export function startHeartbeat() {
  started = true
  checkConnection()
}

/** Sends a heartbeat now, for example because another request failed. */
export function checkConnection() {
  if (!started || beating) return
  clearTimeout(timer)
  beating = beat().finally(() => {
    beating = null
    timer = setTimeout(checkConnection, BEAT_MS)
  })
}

async function beat() {
  try {
    const response = await fetch(address, {
      cache: 'no-store',
      signal: AbortSignal.timeout(TIMEOUT_MS),
    })
    const next = response.ok ? await response.json() : null
    setState(response.status < 500 ? 'online' : 'offline')
    if (next) heartbeat.value = next
  } catch {
    setState('offline')
  }
}

/** @param {'online' | 'offline'} next */
function setState(next) {
  if (next !== connection.value) connection.value = next
}

if (typeof document !== 'undefined') {
  // Browsers slow the timers of hidden tabs down: check on return.
  document.addEventListener('visibilitychange', () => document.hidden || checkConnection())
}
