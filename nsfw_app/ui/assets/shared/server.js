// Client of the routes below /desk. Decisions pass through the store of unsaved decisions; what is
// repeated carries the same nonce, so it is recorded once.

/** @import { Action, Category, Label, ModelLabel, Policy } from './policy.js' */
/** @import { Unsaved } from './unsavedDecisions.js' */

import { connection, heartbeat } from './connection.js'
import {
  announcedVersion,
  deskUrl,
  get,
  jsonOf,
  jsonPost,
  messageOf,
  RequestError,
  request,
  requestWhenFree,
  retryUnreachable,
  Unreachable,
} from './requests.js'
import { signal } from './signal.js'
import { forget, recall, remember } from './storage.js'
import { makeUnsavedDecisions } from './unsavedDecisions.js'

export { deskUrl, messageOf, RequestError, Unreachable }

const POLL_MS = 500

/**
 * @typedef {object} ModelIdentity
 * @property {string} model
 * @property {string} revision
 * @property {string} backend
 */

/**
 * @typedef {object} DetailStatus The detail model.
 * @property {'loading' | 'ready' | 'failed'} state
 * @property {string} model
 * @property {string} message Why it failed.
 * @property {'flagged' | 'always' | 'never'} when
 * @property {Record<string, 'safe' | 'unsafe'>} [roles] Of its labels; none until it is ready.
 */

/**
 * @typedef {object} Status What /desk/status returns.
 * @property {'loading' | 'ready' | 'failed'} state
 * @property {string} wanted
 * @property {string} message
 * @property {ModelIdentity | null} model
 * @property {DetailStatus | null} [detail] Null without a detail model.
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
 * @property {ViewingDefaults} [viewing_defaults]
 * @property {string} version Of the program.
 * @property {boolean} reviews False for an administrator who said that they do not review.
 * @property {string[]} [require_seen] Tabs that refuse decisions about unseen images.
 * @property {boolean} [require_reason] Whether a disagreement needs a reason.
 * @property {string} [escalation_text] The duty when a minor may be shown.
 * @property {string[]} [blind_reasons] Queue reasons whose score is hidden until the decision.
 * @property {Partial<ViewingDefaults>} [viewing_defaults] Of the team; null where not set.
 */

/**
 * @typedef {object} ViewingDefaults Set by admins for the team; null where unset.
 * @property {number | null} blurPx
 * @property {boolean | null} greyscale
 * @property {boolean | null} greyscaleRevealed
 * @property {string | null} reveal
 * @property {number | null} pauseAfter
 */

/**
 * @typedef {object} Decision
 * @property {number} decision_id
 * @property {Label} reviewer_label
 * @property {ModelLabel} model_label
 * @property {boolean | null} agrees Null for unsure.
 * @property {string[]} reasons
 * @property {string} note
 * @property {Category[] | null} [categories] Null where the reviewer was not asked.
 * @property {number} nsfw_score
 * @property {number} threshold
 * @property {string} model
 * @property {boolean} [seen] Whether the reviewer had revealed the image.
 * @property {boolean} [kept] Whether the server stores a preview of the image.
 */

/**
 * @typedef {object} Detail What the detail model judged; all but its id are null after an error.
 * @property {string} model
 * @property {string | null} revision
 * @property {string | null} backend
 * @property {string | null} weights_sha256
 * @property {Record<string, number> | null} probabilities
 * @property {{ kind: string, message: string } | null} error
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
 * @property {boolean} [seen] Whether the server has sent the caller a preview.
 * @property {Decision | null} [decision] The caller's own, still in force.
 * @property {number} [entry_id] Its queue entry.
 * @property {File} [file] Its bytes, for a preview where the server stores none.
 * @property {string} [batchId] Its upload.
 * @property {Partial<Record<Category, number>> | null} [categories] Null where no model judged them.
 * @property {Detail | null} [detail] Null where the detail model was not asked.
 * @property {string | null} [queue_reason] Why it is in the queue.
 * @property {boolean} [escalated]
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
 * @property {Category[] | null} [categories] Sent where the form asked for them.
 * @property {string} [batchId]
 * @property {number | null} [elapsedMs]
 * @property {boolean} [seen] Whether the reviewer has revealed the image.
 * @property {number | null} [seenMs] For how long in all.
 * @property {'review' | 'gallery' | 'queue' | 'relabel'} [tab]
 * @property {number | null} [policyVersion] On screen; by default that of the status.
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
 * @property {boolean} seen Whether the server has sent the caller a preview.
 * @property {string} name
 * @property {string} revision
 * @property {string} backend
 * @property {number} width
 * @property {number} height
 * @property {string[]} reasons Of earlier reviewers.
 * @property {string[]} notes Of earlier reviewers.
 */

/**
 * Sends JSON; a request that did not arrive is sent again.
 *
 * @param {string} path
 * @param {unknown} body
 */
async function send(path, body) {
  try {
    return await retryUnreachable(async () => jsonOf(await request(path, jsonPost(body))))
  } catch (error) {
    if (!(error instanceof Unreachable)) throw error
    throw new Unreachable(
      'The server cannot be reached. Try again; a request that did arrive is not recorded twice.',
    )
  }
}

/** The latest status; null until the first one has arrived. */
export const status = signal(/** @type {Status | null} */ (null))

/** @type {Promise<Status> | null} */
let refreshing = null

/**
 * Fetches the status; callers at the same time share one request.
 *
 * @returns {Promise<Status>}
 */
export function refreshStatus() {
  refreshing ??= get('status')
    .then((/** @type {Status} */ next) => {
      status.value = next
      return next
    })
    .finally(() => {
      refreshing = null
    })
  return refreshing
}

/** Polls the status until the models are ready or have failed. */
export async function watchStatus() {
  try {
    const { state, detail } = await refreshStatus()
    if (state !== 'loading' && detail?.state !== 'loading') return
  } catch {
    // The server may still be starting: poll again.
  }
  setTimeout(watchStatus, POLL_MS)
}

/** Refreshes the status; without a response, the next heartbeat tries again. */
const refreshQuietly = () => refreshStatus().catch(() => null)

// Another window, a restart or an administrator changed the policy, the model or the session.
announcedVersion.subscribe((version) => {
  if (status.value && status.value.policy.version !== version) refreshQuietly()
})
heartbeat.subscribe(({ policy_version, state }) => {
  const now = status.value
  if (now && (now.policy.version !== policy_version || now.state !== state)) refreshQuietly()
})
connection.subscribe((now, previous) => {
  if (now === 'online' && previous === 'offline') refreshQuietly()
})

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
 * Classifies one file. The image keeps its file, for previews where the server stores none.
 *
 * @param {File} file
 * @param {string} source
 * @param {string} [batchId]
 * @returns {Promise<Image>}
 * @throws {Unreachable | RequestError} It was not classified, which says nothing about the image.
 */
export async function addImage(file, source, batchId = '') {
  const maxBytes = status.value?.max_bytes
  if (maxBytes !== undefined && file.size > maxBytes) {
    const limit = `${maxBytes / 1e6} MB`
    return unavailable(file, 'too_large', `${file.name} is larger than the limit of ${limit}.`)
  }
  const query = new URLSearchParams({ name: file.name, source, batch_id: batchId })
  const image = await jsonOf(
    await requestWhenFree(`images?${query}`, { method: 'POST', body: file }),
  )
  if (image.error?.kind === 'model_loading')
    throw new RequestError(image.error.message, { status: 503, kind: image.error.kind })
  return { ...image, file }
}

/**
 * The body of one decision, with its nonce.
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
    categories = null,
    batchId = '',
    elapsedMs = null,
    seen = false,
    seenMs = null,
    tab,
    policyVersion = status.value?.policy.version ?? null,
  },
) {
  return {
    nonce: crypto.randomUUID(),
    image_sha256: image.sha256 ?? '',
    model: image.model,
    revision: image.revision,
    backend: image.backend,
    batch_id: batchId,
    name: image.name,
    entry_id: image.entry_id ?? null,
    elapsed_ms: elapsedMs,
    seen,
    seen_ms: seenMs,
    tab,
    policy_version: policyVersion,
    label,
    threshold,
    reasons,
    note,
    ...(categories && { categories }),
  }
}

/** The images whose decisions were recorded last, in order. */
export const recorded = signal(/** @type {Image[] | null} */ (null))

/** The ids of the decisions that were undone last. */
export const undone = signal(/** @type {number[] | null} */ (null))

const UNSAVED = 'unsaved'
const DECISION_TIMEOUT_MS = 10_000 // then it is sent again, with the same nonce

/** All decisions that are not saved yet, of all tabs. */
export const unsavedDecisions = makeUnsavedDecisions({
  post: postDecisions,
  read: (reviewer) => recall(UNSAVED, reviewer),
  write: (reviewer, items) =>
    items.length ? remember(UNSAVED, reviewer, items) : forget(UNSAVED, reviewer),
  later: (ms, then) => {
    const timer = setTimeout(then, ms)
    return () => clearTimeout(timer)
  },
})
status.subscribe(({ reviewer }) => unsavedDecisions.setReviewer(reviewer))
connection.subscribe((now, previous) => {
  if (now === 'online' && previous === 'offline') unsavedDecisions.retry()
})

/**
 * Sends decisions once, under the name of who made them: the server compares it with the session.
 *
 * @param {Unsaved} item
 */
async function postDecisions({ path, answers, reviewer }) {
  const options = jsonPost(path === 'batches' ? { answers } : answers[0])
  options.headers['nsfw-reviewer'] = encodeURIComponent(reviewer)
  options.signal = AbortSignal.timeout(DECISION_TIMEOUT_MS)
  try {
    return await jsonOf(await request(path, options))
  } catch (error) {
    if (error instanceof RequestError && error.kind === 'other_reviewer') refreshQuietly()
    throw error
  }
}

/**
 * Records a decision about a classified image. Resolves once it is on disk, however long an outage
 * lasts; rejects when the server refuses it.
 *
 * @param {Image} image
 * @param {NewDecision} decision
 * @returns {Promise<Decision>}
 */
export async function decide(image, decision) {
  const made = await unsavedDecisions.submit('decisions', [decisionBody(image, decision)])
  announce([image], [made])
  return made
}

/**
 * Records all decisions or none. Resolves to what was recorded, in order.
 *
 * @param {(NewDecision & { image: Image })[]} decisions
 * @returns {Promise<Decision[]>}
 */
export async function decideAll(decisions) {
  const bodies = decisions.map(({ image, ...decision }) => decisionBody(image, decision))
  const { decisions: made } = await unsavedDecisions.submit('batches', bodies)
  announce(
    decisions.map(({ image }) => image),
    made,
  )
  return made
}

/**
 * @param {Image[]} images
 * @param {Decision[]} made
 */
function announce(images, made) {
  images.forEach((image, index) => {
    image.kept = made[index].kept
  })
  recorded.value = images.map((image, index) => ({ ...image, decision: made[index] }))
}

/**
 * The images that the caller decided last, newest first, each with its decision.
 *
 * @param {number} limit
 * @returns {Promise<Image[]>}
 */
export async function recentImages(limit) {
  return (await get(`recent?limit=${limit}`)).images
}

/**
 * @typedef {object} Batch An upload of a gallery.
 * @property {string} batch_id
 * @property {string} name
 * @property {number} images
 * @property {number} kept How many of them have a preview.
 * @property {string} first_at
 * @property {string} last_at
 */

/**
 * The caller's uploads of galleries, the latest first.
 *
 * @returns {Promise<Batch[]>}
 */
export function galleryBatches() {
  return get('gallery/batches')
}

/**
 * The images of an earlier upload, how many are left out, and why.
 *
 * @param {string} batchId
 * @returns {Promise<{ cards: Image[], left_out: number, why: string }>}
 */
export function galleryBatch(batchId) {
  return get(`gallery/batches/${encodeURIComponent(batchId)}`)
}

/**
 * Undoes all decisions of a batch that are in force; resolves to their ids.
 *
 * @param {string} batchId
 * @returns {Promise<number[]>}
 */
export async function undoBatch(batchId) {
  const answer = await send(`batches/${encodeURIComponent(batchId)}/undo`, {
    nonce: crypto.randomUUID(),
  })
  undone.value = answer.undone
  return answer.undone
}

/**
 * Undoes a decision; resolves to the caller's decision now in force, or null, and to whether the
 * server has a preview of the image.
 *
 * @param {number} decisionId
 * @returns {Promise<{ standing: Decision | null, kept: boolean }>}
 */
export async function undo(decisionId) {
  const answer = await send(`decisions/${decisionId}/undo`, { nonce: crypto.randomUUID() })
  undone.value = [decisionId]
  return answer
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
  const response = await requestWhenFree(`pictures?${query}`, {
    method: 'POST',
    body: image.file,
  })
  if (!response.ok) return jsonOf(response)
  return URL.createObjectURL(await response.blob())
}

/** Ends the session, and opens the sign-in page or where the provider ends its own session. */
export async function signOut() {
  const options = { method: 'POST', headers: { accept: 'application/json' } }
  const response = await request('../logout', options)
  // The session may have ended already.
  const { location } = response.ok ? await response.json() : { location: '../login' }
  window.location.assign(new URL(location, deskUrl('')))
}

/**
 * @typedef {object} ListedSession
 * @property {string} id
 * @property {string} name Of the user.
 * @property {string} created_at
 * @property {string | null} last_seen_at
 * @property {string} expires_at
 * @property {boolean} current Whether it is this browser's.
 * @property {boolean} own
 */

/** The caller's sessions; for administrators those of all users. @returns {Promise<ListedSession[]>} */
export function accessSessions() {
  return get('sessions')
}

/** @param {string} id */
export function endSession(id) {
  return send('sessions/revoke', { id })
}

/**
 * @typedef {object} ListedKey
 * @property {string} name
 * @property {string[]} scopes
 * @property {number} per_minute
 * @property {string} created_at
 * @property {string | null} expires_at
 * @property {boolean} expired
 * @property {string | null} last_used_at
 * @property {boolean} webhook Whether it has one.
 */

/** The API keys that are not revoked, for administrators. @returns {Promise<ListedKey[]>} */
export function accessKeys() {
  return get('keys')
}

/** @param {string} name */
export function revokeKey(name) {
  return send('keys/revoke', { name })
}

/**
 * Claims the next images of the queue. `first` is an entry to put before all others, `reason` the
 * only one that is wanted.
 *
 * @param {{ count: number, holding: number[], order: string, first?: number | null, reason?: string | null }} wanted
 * @returns {Promise<{ waiting: number, items: QueuedImage[] }>}
 */
export function claim({ count, holding, order, first = null, reason = null }) {
  return send('queue/claim', { count, holding, order, first, reason })
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
  await request('queue/release', { ...jsonPost({ entries }), keepalive: true }).catch(() => null)
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
 * Undoes a skip: the entry is leased again. Throws where another reviewer holds it.
 *
 * @param {number} entry
 */
export function unskip(entry) {
  return send(`queue/entries/${entry}/unskip`, {})
}

/**
 * @typedef {object} QueueSummary What waits for this reviewer.
 * @property {number} waiting
 * @property {string | null} oldest_entered_at
 * @property {Record<string, number>} by_reason
 * @property {number} hidden
 */

/** @returns {Promise<QueueSummary>} */
export function queueSummary() {
  return get('queue/summary')
}

/**
 * @typedef {object} HeldLease
 * @property {number} entry_id
 * @property {string} name Of the image.
 * @property {string} reviewer
 * @property {string} until
 * @property {string} reason
 */

/** All leases, for administrators. @returns {Promise<HeldLease[]>} */
export function queueLeases() {
  return get('queue/leases')
}

/**
 * Takes a lease back from its reviewer.
 *
 * @param {number} entry
 */
export function releaseLease(entry) {
  return send(`queue/leases/${entry}/release`, {})
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
 * Undoes a request for a second opinion that is not decided yet.
 *
 * @param {Image} image
 */
export function withdrawSecondOpinion({ sha256, model, revision, backend }) {
  return send('queue/second-opinion/withdraw', { image_sha256: sha256, model, revision, backend })
}

/**
 * Sets the team's viewing defaults; for admins.
 *
 * @param {ViewingDefaults} defaults
 */
export async function setViewingDefaults(defaults) {
  await send('viewing-defaults', defaults)
  await refreshStatus()
}

/**
 * Settled misclassifications, in groups of near duplicates, how many there are in all, and how many
 * restricted images are hidden.
 *
 * @returns {Promise<{ groups: Misclassified[][], total: number, hidden: number }>}
 */
export function misclassifications() {
  return get('training')
}

/**
 * Confirms or corrects a training label, or excludes the image with null. Resolves once that is on
 * disk, however long an outage lasts; rejects when the server refuses it.
 *
 * @param {Misclassified} item
 * @param {ModelLabel | null} label
 * @param {{ seen: boolean, seenMs: number | null }} exposure Whether the reviewer has revealed the image.
 */
export async function setTrainingLabel(item, label, { seen, seenMs }) {
  const { prediction_id: id, sha256, name } = item
  const about = { nonce: crypto.randomUUID(), image_sha256: sha256, name }
  await unsavedDecisions.submit(`training/${id}`, [{ ...about, label, seen, seen_ms: seenMs }])
}

/**
 * Leaves an image without a training label, neither confirmed nor excluded.
 *
 * @param {number} predictionId
 */
export function withdrawTrainingLabel(predictionId) {
  return send(`training/${predictionId}/withdraw`, {})
}

/** The address of the confirmed training labels. */
export const trainingLabelsUrl = deskUrl('training/labels.jsonl')

/**
 * What the export of training labels leaves out, as a sentence; empty if nothing.
 *
 * @returns {Promise<string>}
 */
export async function trainingLeftOut() {
  return (await get('training/left-out')).left_out
}

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
 * Shows an image that was restricted because of a minor again as any other; for administrators.
 *
 * @param {string} sha256
 */
export function liftRestriction(sha256) {
  return send(`images/${sha256}/unrestrict`, {})
}

/**
 * Says whether the caller, an administrator, reviews.
 *
 * @param {boolean} reviews
 */
export function setReviews(reviews) {
  return send('reviewing', { reviews })
}
