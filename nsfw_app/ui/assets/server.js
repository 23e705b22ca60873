// The desk's own routes. A repeated request carries the same nonce, so an answer is one row.

const RETRY_MS = [400, 1200, 3000]
const POLL_MS = 500

const root = new URL('../', import.meta.url)

async function answerOf(response) {
  const body = await response.json().catch(() => null)
  if (response.ok) return body
  const message = body?.error?.message ?? body?.detail?.[0]?.msg
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
      if (wait === null) throw new Error('The server cannot be reached. Nothing was saved.')
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

/** Has one file judged. What cannot be judged comes back as such; this never throws. */
export async function addImage(file, source, batchId = '') {
  if (file.size > current.max_bytes) {
    const limit = `${current.max_bytes / 1e6} MB`
    return unavailable(file, 'too_large', `${file.name} is larger than the limit of ${limit}.`)
  }
  const query = new URLSearchParams({ name: file.name, source, batch_id: batchId })
  try {
    return await answerOf(
      await fetch(new URL(`images?${query}`, root), { method: 'POST', body: file }),
    )
  } catch (error) {
    return unavailable(file, 'not_sent', `${file.name} could not be sent: ${error.message}`)
  }
}

/** Records an answer about a judged image. Resolves when it is on disk. */
export function decide(image, { label, threshold, reasons = [], note = '', batchId = '' }) {
  return send('decisions', {
    nonce: crypto.randomUUID(),
    image_sha256: image.sha256,
    model: image.model,
    revision: image.revision,
    backend: image.backend,
    batch_id: batchId,
    label,
    threshold,
    reasons,
    note,
  })
}

/** Takes an answer back; resolves to the answer that stands now, or null. */
export async function undo(decisionId) {
  const answer = await send(`decisions/${decisionId}/undo`, { nonce: crypto.randomUUID() })
  return answer.standing
}

/** Where the real pixels of an image are. `size` is picture or thumbnail. */
export function pictureUrl(image, size) {
  return new URL(`images/${image.sha256}/${size}`, root).href
}
