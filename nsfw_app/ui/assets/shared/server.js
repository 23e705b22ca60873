// The desk's own routes. A repeated request carries the same nonce, so an answer is one row.

const RETRY_MS = [400, 1200, 3000]
const POLL_MS = 500
const MAX_WAIT_S = 5 // for a share to be free; a longer limit is shown instead

const root = new URL('../../', import.meta.url)

async function answerOf(response) {
  const body = await response.json().catch(() => null)
  if (response.ok) return body
  if (response.status === 401)
    throw new Error(
      'Your session has ended. Sign in again in another tab; nothing that is shown here is lost.',
    )
  const message = body?.error?.message
  throw new Error(message ?? `The server answered with status ${response.status}.`)
}

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
          'The server cannot be reached. Try again; what arrived before is not recorded twice.',
        )
      await new Promise((resolve) => setTimeout(resolve, wait))
      continue
    }
    return answerOf(response)
  }
}

let current = null
const listeners = new Set()

/** Calls back with the status now, if known, and whenever it changes. */
export function onStatus(listener) {
  listeners.add(listener)
  if (current) listener(current)
}

/** Asks for the status once and tells everyone. */
export async function refreshStatus() {
  current = await answerOf(await fetch(new URL('status', root)))
  for (const listener of listeners) listener(current)
  return current
}

/** Asks until the model is there or will not come. */
export async function watchStatus() {
  try {
    const status = await refreshStatus()
    if (status.state !== 'loading') return
  } catch {
    // The server may still be starting; the next question will tell.
  }
  setTimeout(watchStatus, POLL_MS)
}

function unavailable(file, kind, message) {
  return {
    name: file.name,
    nsfw_score: null,
    label: null,
    action: 'unavailable',
    error: { kind, message },
  }
}

/** The response to a file, which is sent again while the server is busy for a short time. */
async function post(path, file) {
  for (;;) {
    const response = await fetch(new URL(path, root), { method: 'POST', body: file })
    if (!(await isBusy(response))) return response
    await new Promise((resolve) => setTimeout(resolve, 1000 * response.headers.get('retry-after')))
  }
}

/** Whether trying again soon helps: not where a person must free a disk or restore a database. */
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
 * Has one file judged. What cannot be judged comes back as such; this never throws. The image keeps
 * hold of its file, for when the server keeps no picture of it.
 */
export async function addImage(file, source, batchId = '') {
  if (file.size > current.max_bytes) {
    const limit = `${current.max_bytes / 1e6} MB`
    return unavailable(file, 'too_large', `${file.name} is larger than the limit of ${limit}.`)
  }
  const query = new URLSearchParams({ name: file.name, source, batch_id: batchId })
  try {
    return { ...(await answerOf(await post(`images?${query}`, file))), file }
  } catch (error) {
    return unavailable(file, 'not_sent', `${file.name} could not be sent: ${error.message}`)
  }
}

/** One answer as the server takes it, with a nonce of its own unless it is sent again. */
function answerBody(
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

/** Records an answer about a judged image. Resolves when it is on disk. */
export async function decide(image, answer) {
  const decision = await send('decisions', answerBody(image, answer))
  image.kept = decision.kept
  return decision
}

/** Records answers `{ image, ...answer }`, all or none; resolves to their decisions, in order. */
export async function decideAll(answers) {
  const made = await send('batches', {
    answers: answers.map(({ image, ...answer }) => answerBody(image, answer)),
  })
  made.decisions.forEach(({ kept }, index) => {
    answers[index].image.kept = kept
  })
  return made.decisions
}

/** Takes back all answers of a batch that stand; resolves to their ids. */
export async function undoBatch(batchId) {
  const answer = await send(`batches/${encodeURIComponent(batchId)}/undo`, {
    nonce: crypto.randomUUID(),
  })
  return answer.undone
}

/** Takes an answer back; resolves to the answer that stands now, or null. */
export async function undo(decisionId) {
  const answer = await send(`decisions/${decisionId}/undo`, { nonce: crypto.randomUUID() })
  return answer.standing
}

/**
 * Resolves to where the real pixels of an image are: on the server, or in a blob made from its file
 * where the server keeps none. `size` is picture or thumbnail.
 */
export async function pictureUrl(image, size) {
  if (image.kept) return new URL(`images/${image.sha256}/${size}`, root).href
  if (!image.file) throw new Error('No picture of this image is kept any more.')
  const query = new URLSearchParams({
    name: image.name,
    frame: image.frame,
    ground: image.ground,
  })
  const response = await post(`pictures?${query}`, image.file)
  if (!response.ok) return answerOf(response)
  return URL.createObjectURL(await response.blob())
}

/** Ends the session and shows the sign-in. */
export async function signOut() {
  await fetch(new URL('../logout', root), { method: 'POST', redirect: 'manual' })
  window.location.assign(new URL('../login', root))
}

/** Lends the next images of the queue; `first` is the entry that should come before all others. */
export function claim({ count, holding, order, first = null }) {
  return send('queue/claim', { count, holding, order, first })
}

/** Keeps images for another while; resolves to the entries that are still ours. */
export function renew(entries) {
  return send('queue/renew', { entries })
}

/** Gives images back, also while the page is being left. */
export async function release(entries) {
  if (!entries.length) return
  await fetch(new URL('queue/release', root), {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ entries }),
    keepalive: true,
  }).catch(() => null) // a loan that is not given back runs out by itself
}

/** Gives an image back, to come after all others. */
export function skip(entry) {
  return send(`queue/${entry}/skip`, {})
}

/** Sends an image to others; throws when second opinions are not in use. */
export async function secondOpinion({ sha256, model, revision, backend }) {
  const body = { image_sha256: sha256, model, revision, backend }
  const { asked } = await send('queue/second-opinion', body)
  if (!asked) throw new Error('Second opinions are switched off.')
}

/** The model's settled errors, in groups of pictures that look alike. */
export async function mistakes() {
  return (await answerOf(await fetch(new URL('training', root)))).groups
}

/** Confirms a training label, or sets an image aside with null. */
export function labelForTraining(predictionId, label) {
  return send(`training/${predictionId}`, { label })
}

/** Where the confirmed training labels are. */
export const trainingLabelsUrl = new URL('training/labels.jsonl', root).href
