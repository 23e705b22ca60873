// Client of the routes of explanations.

/** @import { Answer } from './explanationRequest.js' */
/** @import { Image } from './server.js' */

import { jsonOf, jsonPost, request, requestWhenFree, retryUnreachable } from './requests.js'

/** @param {Image} image */
const pathOf = ({ sha256 }) => `images/${sha256}/explanation`

/**
 * Starts the computation, or returns the explanation that the server has stored.
 *
 * @param {Image} image
 * @returns {Promise<Answer>}
 */
export function startExplanation(image) {
  const { model, revision, backend } = image
  const options = jsonPost({ model, revision, backend })
  return retryUnreachable(async () => jsonOf(await requestWhenFree(pathOf(image), options)))
}

/**
 * How far a computation is; resolves to the explanation once it is done.
 *
 * @param {Image} image
 * @param {string} id
 * @returns {Promise<Answer>}
 */
export function pollExplanation(image, id) {
  const path = `${pathOf(image)}/${encodeURIComponent(id)}`
  return retryUnreachable(async () => jsonOf(await requestWhenFree(path, {})))
}

/**
 * Cancels a computation. One that is not canceled ends when the page no longer polls it.
 *
 * @param {Image} image
 * @param {string} id
 */
export async function cancelComputation(image, id) {
  const path = `${pathOf(image)}/${encodeURIComponent(id)}`
  await request(path, { method: 'DELETE', keepalive: true }).catch(() => null)
}
