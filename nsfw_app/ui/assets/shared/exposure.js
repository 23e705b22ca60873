// Which images the reviewer has revealed, and for how long on this page.

/** @type {Map<string, { ms: number, since: number | null }>} By SHA-256; `since`: on screen now. */
const exposures = new Map()

/**
 * Notes that the pixels of an image came on the screen, or left it.
 *
 * @param {string} sha256
 * @param {boolean} shown
 */
export function noteExposure(sha256, shown) {
  const now = performance.now()
  const exposure = exposures.get(sha256) ?? { ms: 0, since: null }
  if (exposure.since !== null) exposure.ms += now - exposure.since
  exposure.since = shown ? now : null
  exposures.set(sha256, exposure)
}

/**
 * Whether the reviewer has revealed an image, on this page or earlier, as far as the server knows,
 * and for how long in all; null where only the server knows of it.
 *
 * @param {{ sha256?: string, seen?: boolean, decision?: { seen?: boolean } | null }} image
 * @returns {{ seen: boolean, seenMs: number | null }}
 */
export function exposureOf({ sha256 = '', seen = false, decision }) {
  const exposure = exposures.get(sha256)
  if (!exposure) return { seen: seen || Boolean(decision?.seen), seenMs: null }
  const now = exposure.since === null ? 0 : performance.now() - exposure.since
  return { seen: true, seenMs: Math.round(exposure.ms + now) }
}
