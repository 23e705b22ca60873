// Requests to routes below /desk, and the two ways in which they fail.

import { checkConnection, connection } from './connection.js'
import { signal } from './signal.js'

const root = new URL('../../', import.meta.url)
const VERSION_HEADER = 'nsfw-policy-version'
const RETRY_MS = [400, 1200, 3000]
const MAX_WAIT_S = 5 // for a busy server; a longer wait is shown as an error instead

/** The policy version named by the latest response. */
export const announcedVersion = signal(/** @type {number | null} */ (null))

/** A request did not arrive, or its response did not. */
export class Unreachable extends Error {}

/** The server refused a request or could not serve it. */
export class RequestError extends Error {
  /**
   * @param {string} message
   * @param {{ status: number, kind?: string, images?: string[] }} details
   */
  constructor(message, { status, kind = '', images = [] }) {
    super(message)
    this.status = status
    /** A stable code, such as `not_seen`. */
    this.kind = kind
    /** SHA-256 of the images of a batch for which it was refused. */
    this.images = images
  }
}

/**
 * The address of a route below /desk.
 *
 * @param {string} path
 */
export const deskUrl = (path) => new URL(path, root).href

/**
 * The message of anything that was thrown.
 *
 * @param {unknown} error
 */
export const messageOf = (error) => (error instanceof Error ? error.message : String(error))

/**
 * Sends one request.
 *
 * @param {string} path
 * @param {RequestInit} [options]
 * @returns {Promise<Response>}
 * @throws {Unreachable} There was no response.
 */
export async function request(path, options) {
  let response
  try {
    response = await fetch(new URL(path, root), options)
  } catch {
    checkConnection()
    throw new Unreachable('The server cannot be reached.')
  }
  if (connection.value === 'offline') checkConnection()
  const version = Number(response.headers.get(VERSION_HEADER) ?? Number.NaN)
  if (Number.isInteger(version)) announcedVersion.value = version
  return response
}

/**
 * The JSON of a response.
 *
 * @param {Response} response
 * @returns {Promise<any>}
 * @throws {RequestError} It is an error.
 * @throws {Unreachable} It is not JSON, so it is not from this server, or it ended too early.
 */
export async function jsonOf(response) {
  const { status } = response
  const body = await response.json().catch(() => null)
  if (response.ok && body !== null) return body
  if (response.ok) throw new Unreachable('The response of the server did not arrive completely.')
  if (status === 401)
    throw new RequestError(
      'Your session has ended. Sign in again in another tab; nothing that is shown here is lost.',
      { status, kind: 'not_signed_in' },
    )
  const { message, kind, images } = body?.error ?? {}
  throw new RequestError(message ?? `The server responded with status ${status}.`, {
    status,
    kind,
    images,
  })
}

/**
 * @param {string} path
 * @returns {Promise<any>}
 */
export async function get(path) {
  return jsonOf(await request(path))
}

/**
 * The options of a request with a JSON body.
 *
 * @param {unknown} body
 * @returns {RequestInit & { headers: Record<string, string> }}
 */
export const jsonPost = (body) => ({
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(body),
})

/** @param {number} ms */
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/**
 * Repeats a request that did not arrive.
 *
 * @template T
 * @param {() => Promise<T>} attempt
 * @param {() => boolean} [isWanted] Whether to repeat it.
 * @returns {Promise<T>}
 * @throws {Unreachable} None of the attempts arrived.
 */
export async function retryUnreachable(attempt, isWanted = () => true) {
  for (const ms of RETRY_MS) {
    try {
      return await attempt()
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error
      await wait(ms)
      if (!isWanted()) throw error
    }
  }
  return attempt()
}

/**
 * The response to a request, which is sent again while the server is busy for a short time.
 *
 * @param {string} path
 * @param {RequestInit} options
 * @param {() => boolean} [isWanted] Whether to send it again.
 */
export async function requestWhenFree(path, options, isWanted = () => true) {
  for (;;) {
    const response = await request(path, options)
    if (!(await isBusy(response))) return response
    await wait(1000 * Number(response.headers.get('retry-after')))
    if (!isWanted()) return response
  }
}

/**
 * Whether a retry soon can help. It cannot if an operator must free disk space or restore a database.
 *
 * @param {Response} response
 */
async function isBusy(response) {
  const seconds = Number(response.headers.get('retry-after'))
  if (response.status === 429) return seconds > 0 && seconds <= MAX_WAIT_S
  if (response.status !== 503 || !response.headers.has('retry-after')) return false
  const body = await response
    .clone()
    .json()
    .catch(() => null)
  const kind = body?.error?.kind ?? ''
  return kind === 'storage_busy' || !kind.startsWith('storage_')
}
