// The alarms about the policy of the running model: one value for all tabs, as soon as one has it.

import { signal } from '../shared/signal.js'

const LEAST_AGE_MS = 5_000 // the server computes a summary no sooner

/**
 * @param {() => Promise<{ alarms: string[] }>} fetchAlarms
 * @param {() => number} [now] In milliseconds.
 */
export function makeAlarms(fetchAlarms, now = () => performance.now()) {
  const current = signal(/** @type {string[] | null} */ (null))
  let asked = Number.NEGATIVE_INFINITY
  let latest = 0 // number of the request or value after which no earlier answer counts

  async function load() {
    const number = ++latest
    asked = now()
    try {
      const { alarms } = await fetchAlarms()
      if (number === latest) publish(alarms)
    } catch {
      if (number === latest) asked = Number.NEGATIVE_INFINITY // the connection's notice says why
    }
  }

  /** @param {string[]} alarms */
  function publish(alarms) {
    latest += 1
    asked = now()
    current.value = alarms
  }

  return {
    current,
    /** Takes those that came with a summary of the running model. */
    publish,
    /** Asks the server, unless it has just answered. */
    ask() {
      if (now() - asked >= LEAST_AGE_MS) load()
    },
    /** What is known is of another policy, model or reference: the next call asks. */
    expire() {
      latest += 1
      asked = Number.NEGATIVE_INFINITY
    },
  }
}
