// What the browser keeps for a reviewer between visits: small JSON values, nothing about images.

const kept = new Map() // where the browser keeps nothing, as in some frames, the visit still does

const keyOf = (name, reviewer) => `nsfw-review:${name}:${reviewer}`

/** The value kept under this name for this reviewer, or null. */
export function recall(name, reviewer) {
  const key = keyOf(name, reviewer)
  try {
    return JSON.parse(localStorage.getItem(key)) ?? kept.get(key) ?? null
  } catch {
    return kept.get(key) ?? null
  }
}

/** Keeps a value under this name for this reviewer. */
export function remember(name, reviewer, value) {
  const key = keyOf(name, reviewer)
  kept.set(key, value)
  try {
    localStorage.setItem(key, JSON.stringify(value))
  } catch {
    // Storage is full or forbidden: the value lasts until the page is left.
  }
}
