// Client of the routes below /desk. A repeated request carries the same nonce, so a decision is
// recorded once.

/** @import { Action, Label, ModelLabel, Policy } from './policy.js' */

import { signal } from './signal.js'

const RETRY_MS = [400, 1200, 3000]
const POLL_MS = 500
const MAX_WAIT_S = 5 // for a busy server; a longer wait is shown as an error instead

/**
 * @typedef {object} ModelIdentity
 * @property {string} model
 * @property {string} revision
 * @property {string} backend
 */

/**
 * @typedef {object} Status What /desk/status returns.
 * @property {'loading' | 'ready' | 'failed'} state
 * @property {string} wanted
 * @property {string} message
 * @property {ModelIdentity | null} model
 * @property {Policy & { version: number }} policy
 * @property {string} reviewer
 * @property {string[]} permissions
 * @property {'sign_in' | 'sign_out' | null} auth_action
 * @property {string[]} reasons
 * @property {number} uploads_at_once Files that one page sends at the same time.
 * @property {number} max_files
 * @property {number} max_bytes
 * @property {number} pause_after
 * @property {boolean} policy_text
 * @property {string} version Of the program.
 * @property {boolean} reviews False for an administrator who said that they do not review.
 */

/**
 * @typedef {object} Decision
 * @property {number} decision_id
 * @property {Label} reviewer_label
 * @property {ModelLabel} model_label
 * @property {boolean} agrees
 * @property {string[]} reasons
 * @property {string} note
 * @property {number} nsfw_score
 * @property {number} threshold
 * @property {string} model
 * @property {boolean} [kept] Whether the server stores a preview of the image.
 */

/**
 * @typedef {object} ImageFields An image that was classified, or that could not be.
 * @property {string} name
 * @property {string} [sha256]
 * @property {number | null} nsfw_score
 * @property {string | null} label
 * @property {Action} action
 * @property {{ kind: string, message: string } | null} error
 * @property {Record<string, number>} [probabilities]
 * @property {boolean} [incomplete] Parts of its pixels are missing.
 * @property {{ code: string, message: string }[]} [warnings]
 * @property {number} [width]
 * @property {number} [height]
 * @property {string} [format]
 * @property {number} [frame]
 * @property {number} [frames]
 * @property {string} [ground] The color behind transparent pixels.
 * @property {string} [placeholder] A data URL, 24 pixels at most.
 * @property {string} [perceptual_hash]
 * @property {boolean} [kept] Whether the server stores a preview.
 * @property {Decision | null} [decision] The caller's own, still in force.
 * @property {number} [entry_id] Its queue entry.
 * @property {File} [file] Its bytes, for a preview where the server stores none.
 * @property {string} [batchId] Its upload.
 */
/** @typedef {ImageFields & Partial<ModelIdentity>} Image */
/** @typedef {Image & { entry_id: number }} QueuedImage */

/** @import { Row } from '../log/table.js' */
/**
 * @typedef {object} LogPage
 * @property {Row[]} rows
 * @property {number | null} total Null where the filter's rows are not counted.
 * @property {number | null} searched_to The last decision that was read; null for all.
 * @property {string | null} searched_since When that was made.
 * @property {string} left_out Which decisions are hidden and why, or empty.
 */

/**
 * @typedef {object} NewDecision
 * @property {Label} label
 * @property {number} threshold
 * @property {string[]} [reasons]
 * @property {string} [note]
 * @property {string} [batchId]
 * @property {number | null} [elapsedMs]
 * @property {string} [nonce]
 */

/**
 * @typedef {object} Misclassified A settled disagreement.
 * @property {number} prediction_id
 * @property {string} sha256
 * @property {number} nsfw_score
 * @property {string} model
 * @property {ModelLabel} label
 * @property {number} answers
 * @property {string | null} confirmed The training label; empty if excluded, null if undecided.
 * @property {string} placeholder
 * @property {boolean} kept
 */

const root = new URL('../../', import.meta.url)

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
 * @param {Response} response
 * @returns {Promise<any>}
 */
async function jsonOf(response) {
  const body = await response.json().catch(() => null)
  if (response.ok) return body
  if (response.status === 401)
    throw new Error(
      'Your session has ended. Sign in again in another tab; nothing that is shown here is lost.',
    )
  const message = body?.error?.message
  throw new Error(message ?? `The server responded with status ${response.status}.`)
}

/** @param {string} path */
async function get(path) {
  return jsonOf(await fetch(new URL(path, root)))
}

/**
 * @param {string} path
 * @param {unknown} body
 */
async function send(path, body) {
  for (const wait of [...RETRY_MS, null]) {
    let response
    try {
      response = await fetch(new URL(path, root), {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      })
    } catch {
      if (wait === null)
        throw new Error(
          'The server cannot be reached. Try again; a request that did arrive is not recorded twice.',
        )
      await new Promise((resolve) => setTimeout(resolve, wait))
      continue
    }
    return jsonOf(response)
  }
}

/** The latest status; null until the first one has arrived. */
export const status = signal(/** @type {Status | null} */ (null))

/**
 * Fetches the status once.
 *
 * @returns {Promise<Status>}
 */
export async function refreshStatus() {
  const next = await get('status')
  status.value = next
  return next
}

/** Polls the status until the model is ready or has failed. */
export async function watchStatus() {
  try {
    const { state } = await refreshStatus()
    if (state !== 'loading') return
  } catch {
    // The server may still be starting: poll again.
  }
  setTimeout(watchStatus, POLL_MS)
}

/**
 * @param {File} file
 * @param {string} kind
 * @param {string} message
 * @returns {Image}
 */
function unavailable(file, kind, message) {
  return {
    name: file.name,
    nsfw_score: null,
    label: null,
    action: 'unavailable',
    error: { kind, message },
  }
}

/**
 * The response to a file, which is sent again while the server is busy for a short time.
 *
 * @param {string} path
 * @param {File} file
 */
async function post(path, file) {
  for (;;) {
    const response = await fetch(new URL(path, root), { method: 'POST', body: file })
    if (!(await isBusy(response))) return response
    const seconds = Number(response.headers.get('retry-after'))
    await new Promise((resolve) => setTimeout(resolve, 1000 * seconds))
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

/**
 * Classifies one file. Never throws: a failure is an `unavailable` image with an error.
 *
 * The image keeps its file, for previews where the server stores none.
 *
 * @param {File} file
 * @param {string} source
 * @param {string} [batchId]
 * @returns {Promise<Image>}
 */
export async function addImage(file, source, batchId = '') {
  const maxBytes = status.value?.max_bytes
  if (maxBytes !== undefined && file.size > maxBytes) {
    const limit = `${maxBytes / 1e6} MB`
    return unavailable(file, 'too_large', `${file.name} is larger than the limit of ${limit}.`)
  }
  const query = new URLSearchParams({ name: file.name, source, batch_id: batchId })
  try {
    return { ...(await jsonOf(await post(`images?${query}`, file))), file }
  } catch (error) {
    return unavailable(file, 'not_sent', `${file.name} could not be sent: ${messageOf(error)}`)
  }
}

/**
 * The body of one decision, with a new nonce unless it is a retry.
 *
 * @param {Image} image
 * @param {NewDecision} decision
 */
function decisionBody(
  image,
  {
    label,
    threshold,
    reasons = [],
    note = '',
    batchId = '',
    elapsedMs = null,
    nonce = crypto.randomUUID(),
  },
) {
  return {
    nonce,
    image_sha256: image.sha256,
    model: image.model,
    revision: image.revision,
    backend: image.backend,
    batch_id: batchId,
    name: image.name,
    elapsed_ms: elapsedMs,
    label,
    threshold,
    reasons,
    note,
  }
}

/**
 * Records a decision about a classified image. Resolves once it is on disk.
 *
 * @param {Image} image
 * @param {NewDecision} decision
 * @returns {Promise<Decision>}
 */
export async function decide(image, decision) {
  const recorded = await send('decisions', decisionBody(image, decision))
  image.kept = recorded.kept
  return recorded
}

/**
 * Records all decisions or none. Resolves to what was recorded, in order.
 *
 * @param {(NewDecision & { image: Image })[]} decisions
 * @returns {Promise<Decision[]>}
 */
export async function decideAll(decisions) {
  /** @type {{ decisions: Decision[] }} */
  const recorded = await send('batches', {
    answers: decisions.map(({ image, ...decision }) => decisionBody(image, decision)),
  })
  recorded.decisions.forEach(({ kept }, index) => {
    decisions[index].image.kept = kept
  })
  return recorded.decisions
}

/**
 * Undoes all decisions of a batch that are in force; resolves to their ids.
 *
 * @param {string} batchId
 * @returns {Promise<number[]>}
 */
export async function undoBatch(batchId) {
  const { undone } = await send(`batches/${encodeURIComponent(batchId)}/undo`, {
    nonce: crypto.randomUUID(),
  })
  return undone
}

/**
 * Undoes a decision; resolves to the caller's decision now in force, or null.
 *
 * @param {number} decisionId
 * @returns {Promise<Decision | null>}
 */
export async function undo(decisionId) {
  const { standing } = await send(`decisions/${decisionId}/undo`, { nonce: crypto.randomUUID() })
  return standing
}

/**
 * The address of an image's unblurred preview: on the server, or a blob made from its file where the
 * server stores none.
 *
 * @param {Image} image
 * @param {'picture' | 'thumbnail'} size
 * @returns {Promise<string>}
 */
export async function previewUrl(image, size) {
  if (image.kept) return deskUrl(`images/${image.sha256}/${size}`)
  if (!image.file) throw new Error('The preview of this image was deleted.')
  const query = new URLSearchParams({
    name: image.name,
    frame: String(image.frame),
    ground: String(image.ground),
  })
  const response = await post(`pictures?${query}`, image.file)
  if (!response.ok) return jsonOf(response)
  return URL.createObjectURL(await response.blob())
}

/** Ends the session and opens the sign-in page. */
export async function signOut() {
  await fetch(new URL('../logout', root), { method: 'POST', redirect: 'manual' })
  window.location.assign(new URL('../login', root))
}

/**
 * Claims the next images of the queue. `first` is an entry to put before all others.
 *
 * @param {{ count: number, holding: number[], order: string, first?: number | null }} wanted
 * @returns {Promise<{ waiting: number, items: QueuedImage[] }>}
 */
export function claim({ count, holding, order, first = null }) {
  return send('queue/claim', { count, holding, order, first })
}

/**
 * Renews leases; resolves to the entries whose lease had not expired.
 *
 * @param {number[]} entries
 * @returns {Promise<{ entries: number[] }>}
 */
export function renew(entries) {
  return send('queue/renew', { entries })
}

/**
 * Releases leases, also while the page is being closed. A lease that is not released expires.
 *
 * @param {number[]} entries
 */
export async function release(entries) {
  if (!entries.length) return
  await fetch(new URL('queue/release', root), {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ entries }),
    keepalive: true,
  }).catch(() => null)
}

/**
 * Releases an entry, to come after all others.
 *
 * @param {number} entry
 */
export function skip(entry) {
  return send(`queue/${entry}/skip`, {})
}

/**
 * Requests a second opinion; throws where second opinions are disabled.
 *
 * @param {Image} image
 */
export async function requestSecondOpinion({ sha256, model, revision, backend }) {
  const body = { image_sha256: sha256, model, revision, backend }
  const { asked } = await send('queue/second-opinion', body)
  if (!asked) throw new Error('Second opinions are disabled.')
}

/**
 * Settled misclassifications, in groups of near duplicates.
 *
 * @returns {Promise<Misclassified[][]>}
 */
export async function misclassifications() {
  return (await get('training')).groups
}

/**
 * Confirms a training label, or excludes the image with null.
 *
 * @param {number} predictionId
 * @param {ModelLabel | null} label
 */
export function setTrainingLabel(predictionId, label) {
  return send(`training/${predictionId}`, { label })
}

/** The address of the confirmed training labels. */
export const trainingLabelsUrl = deskUrl('training/labels.jsonl')

/**
 * A page of the correction log.
 *
 * @param {URLSearchParams} query
 * @returns {Promise<LogPage>}
 */
export function logPage(query) {
  return get(`log?${query}`)
}

/**
 * The reviewers and models that the log can be filtered by.
 *
 * @returns {Promise<{ reviewers: string[], models: string[] }>}
 */
export function logChoices() {
  return get('log/choices')
}

/**
 * Says whether the caller, an administrator, reviews.
 *
 * @param {boolean} reviews
 */
export function setReviews(reviews) {
  return send('reviewing', { reviews })
}
