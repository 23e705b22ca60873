// A value that other modules can watch: the one observer of the page.

/**
 * `null` means that the value is not known yet; listeners are not called with it.
 *
 * @template T
 * @typedef {object} Signal
 * @property {T} value Setting it calls every listener, also when the value is the same.
 * @property {(listener: (value: NonNullable<T>, previous: T) => void) => () => void} subscribe
 *   Calls the listener now, if the value is known, and after each change. Returns a function that
 *   unsubscribes.
 */

/**
 * @template T
 * @param {T} initial
 * @returns {Signal<T>}
 */
export function signal(initial) {
  let current = initial
  /** @type {Set<(value: NonNullable<T>, previous: T) => void>} */
  const listeners = new Set()
  return {
    get value() {
      return current
    },
    set value(next) {
      const previous = current
      current = next
      if (next == null) return
      for (const listener of [...listeners]) listener(next, previous)
    },
    subscribe(listener) {
      listeners.add(listener)
      if (current != null) listener(current, current)
      return () => listeners.delete(listener)
    },
  }
}
