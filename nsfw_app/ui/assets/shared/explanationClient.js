// Client of the routes of explanations.

/** @import { Answer } from './explanationRequest.js' */
/** @import { Image } from './server.js' */

import {
  jsonOf,
  jsonPost,
  RequestError,
  request,
  requestWhenFree,
  retryUnreachable,
} from './requests.js'

/**
 * Starts the computation, or returns the explanation that the server has stored. Where the server has
 * no preview of the image, its file is sent.
 *
 * @param {Image} image
 * @param {() => boolean} [isWanted] Whether to ask a busy server again.
 * @returns {Promise<Answer>}
 */
export async function startExplanation(image, isWanted) {
  const { sha256, name, file, kept, model = '', revision = '', backend = '' } = image
  const path = `images/${sha256}/explanation`
  const names = { model, revision, backend }
  if (kept || !file) {
    try {
      return await ask(path, jsonPost(names), isWanted)
    } catch (error) {
      const isMissing = error instanceof RequestError && error.kind === 'no_pixels'
      if (!isMissing || !file) throw error
    }
  }
  const query = new URLSearchParams({ ...names, name })
  return ask(`${path}?${query}`, { method: 'POST', body: file }, isWanted)
}

/**
 * How far a computation is; resolves to the explanation once it is done.
 *
 * @param {string} id
 * @param {() => boolean} [isWanted] Whether to ask a busy server again.
 * @returns {Promise<Answer>}
 */
export function pollExplanation(id, isWanted) {
  return ask(pathOf(id), {}, isWanted)
}

/**
 * Cancels a computation. Without it, the server ends one that is not polled.
 *
 * @param {string} id
 */
export async function cancelComputation(id) {
  await request(pathOf(id), { method: 'DELETE', keepalive: true }).catch(() => null)
}

/** @param {string} id */
const pathOf = (id) => `explanations/${encodeURIComponent(id)}`

/**
 * @param {string} path
 * @param {RequestInit} options
 * @param {() => boolean} [isWanted]
 * @returns {Promise<Answer>}
 */
function ask(path, options, isWanted) {
  const attempt = async () => jsonOf(await requestWhenFree(path, options, isWanted))
  return retryUnreachable(attempt, isWanted)
}
