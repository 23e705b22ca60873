// Small JSON values that the browser keeps for a reviewer between visits. Of images no
// pixels: only the names, hashes and labels of decisions that are not saved yet.

/**
 * Where localStorage is not available, as in some frames, values last for the visit.
 *
 * @type {Map<string, unknown>}
 */
const fallback = new Map()

/** @param {string} name @param {string} reviewer */
const keyOf = (name, reviewer) => `nsfw-review:${name}:${reviewer}`

/**
 * The value stored under this name for this reviewer, or null. Not validated.
 *
 * @param {string} name
 * @param {string} reviewer
 * @returns {any}
 */
export function recall(name, reviewer) {
  const key = keyOf(name, reviewer)
  try {
    return JSON.parse(localStorage.getItem(key) ?? 'null') ?? fallback.get(key) ?? null
  } catch {
    return fallback.get(key) ?? null
  }
}

/**
 * Stores a value under this name for this reviewer.
 *
 * @param {string} name
 * @param {string} reviewer
 * @param {unknown} value
 */
export function remember(name, reviewer, value) {
  const key = keyOf(name, reviewer)
  fallback.set(key, value)
  try {
    localStorage.setItem(key, JSON.stringify(value))
  } catch {
    // Storage is full or blocked: the value lasts until the page is closed.
  }
}

/**
 * Removes the value stored under this name for this reviewer.
 *
 * @param {string} name
 * @param {string} reviewer
 */
export function forget(name, reviewer) {
  const key = keyOf(name, reviewer)
  fallback.delete(key)
  try {
    localStorage.removeItem(key)
  } catch {
    // Nothing can be stored, so nothing is left.
  }
}
