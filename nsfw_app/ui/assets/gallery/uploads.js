// Uploads files and shows progress. A file that was not sent stays a file of its own, which says
// nothing about its image: it is sent again by itself, by Retry or by Resume, or removed.

/** @import { Image } from '../shared/server.js' */

import { connection } from '../shared/connection.js'
import { make } from '../shared/dom.js'
import { addImage, messageOf, RequestError, status, Unreachable } from '../shared/server.js'

const RETRY_MS = [1000, 3000, 8000, 15_000] // the last one repeats
const MAX_ATTEMPTS = 4 // while the server responds: then the file itself cannot be sent
const TEMPORARY = [401, 408, 429, 500, 502, 503, 504]

/**
 * @typedef {object} Upload One file.
 * @property {File} file
 * @property {string} batchId
 * @property {number} attempts That failed while the server responded.
 * @property {string} why It was not sent; empty before the first attempt.
 */

/**
 * Uploads files in the order in which they were added.
 *
 * @param {object} handlers
 * @param {(image: Image, upload: Upload) => void} handlers.onImage Called with each image once
 *   classified.
 * @param {(upload: Upload) => void} handlers.onUnsent Called when a file was not sent, and again when
 *   the reason changes.
 * @param {(upload: Upload) => void} handlers.onRemoved Called when a file will not be sent.
 */
export function makeUploads({ onImage, onUnsent, onRemoved }) {
  /** @type {Upload[]} To be sent. */
  let waiting = []
  /** @type {Upload[]} Not to be sent again without being asked. */
  let failed = []
  let batchId = ''
  let total = 0
  let done = 0
  let sending = 0
  let stops = 0 // files sent before the last Stop take no place from later ones
  let failures = 0
  let stopped = false
  /** @type {ReturnType<typeof setTimeout> | undefined} Set while it waits for the server. */
  let retryTimer

  const progress = make('progress', { 'aria-label': 'Files classified', hidden: true })
  const text = make('span', { class: 'progress-text', role: 'status' })
  /** @param {string} id @param {string} word @param {() => void} onclick */
  const button = (id, word, onclick) => make('button', { id, type: 'button', onclick }, word)
  const stop = button('stop', 'Stop', stopAll)
  const resume = button('resume', 'Resume', () => retry([...failed]))
  const discard = button('remove-unsent', 'Remove', () => remove([...failed, ...waiting]))
  const isPaused = () => stopped || retryTimer !== undefined
  draw()

  /** @param {File[]} files */
  function add(files) {
    if (!waiting.length && !sending && !failed.length) {
      total = 0
      done = 0
    }
    if (!waiting.length && !sending) batchId = crypto.randomUUID()
    stopped = false
    total += files.length
    waiting.push(...files.map((file) => ({ file, batchId, attempts: 0, why: '' })))
    if (retryTimer !== undefined) explainWaiting('The server cannot be reached.')
    start()
  }

  function start() {
    const places = status.value?.uploads_at_once ?? 1
    while (!isPaused() && waiting.length && sending < places) work(waiting[0])
    draw()
  }

  /** @param {Upload} upload */
  async function work(upload) {
    waiting = waiting.filter((other) => other !== upload)
    sending += 1
    const before = stops
    try {
      const image = await addImage(upload.file, 'gallery', upload.batchId)
      image.batchId = upload.batchId
      failures = 0
      done += 1
      onImage(image, upload)
    } catch (error) {
      fail(upload, error)
    } finally {
      if (before === stops) sending -= 1
      start()
    }
  }

  /** @param {Upload} upload @param {unknown} error */
  function fail(upload, error) {
    upload.why = messageOf(error)
    if (connection.value === 'online') upload.attempts += 1
    const temporary =
      error instanceof Unreachable ||
      (error instanceof RequestError && TEMPORARY.includes(error.status))
    if (!temporary || upload.attempts >= MAX_ATTEMPTS || stopped) {
      failed.push(upload)
      onUnsent(upload)
      return
    }
    waiting.push(upload)
    pause(upload.why)
  }

  /** Sends nothing for a while. @param {string} why */
  function pause(why) {
    explainWaiting(why)
    if (retryTimer !== undefined) return
    retryTimer = setTimeout(goOn, RETRY_MS[Math.min(failures, RETRY_MS.length - 1)])
    failures += 1
  }

  function goOn() {
    clearTimeout(retryTimer)
    retryTimer = undefined
    start()
  }

  /** @param {string} why */
  function explainWaiting(why) {
    for (const upload of waiting) {
      upload.why = why
      onUnsent(upload)
    }
  }

  /** Files already sent are still classified and kept; the others can be resumed. */
  function stopAll() {
    stopped = true
    stops += 1
    sending = 0
    clearTimeout(retryTimer)
    retryTimer = undefined
    explainWaiting('Stopped before it was sent.')
    failed.push(...waiting)
    waiting = []
    draw()
  }

  /** @param {Upload[]} uploads */
  function retry(uploads) {
    stopped = false
    failures = 0
    failed = failed.filter((upload) => !uploads.includes(upload))
    const others = waiting.filter((upload) => !uploads.includes(upload))
    for (const upload of uploads) upload.attempts = 0
    waiting = [...uploads, ...others]
    goOn()
  }

  /** @param {Upload[]} uploads */
  function remove(uploads) {
    const before = waiting.length + failed.length
    waiting = waiting.filter((upload) => !uploads.includes(upload))
    failed = failed.filter((upload) => !uploads.includes(upload))
    total -= before - waiting.length - failed.length
    for (const upload of uploads) onRemoved(upload)
    draw()
  }

  function draw() {
    const running = sending > 0 || waiting.length > 0
    const unsent = failed.length + (isPaused() ? waiting.length : 0)
    stop.disabled = !running
    resume.hidden = !failed.length
    discard.hidden = !unsent
    progress.hidden = !running
    progress.max = total || 1
    progress.value = done
    const idle = stopped ? 'Stopped: ' : 'Done: '
    const active = isPaused() ? 'Waiting: ' : ''
    // How many were not sent is in the line below the cards, with what can be done about them.
    text.textContent = total ? `${running ? active : idle}${done} of ${total}` : ''
  }

  connection.subscribe((now, previous) => {
    if (now === 'online' && previous === 'offline' && retryTimer !== undefined) goOn()
  })
  window.addEventListener('beforeunload', (event) => {
    if (waiting.length || failed.length) event.preventDefault()
  })

  return {
    /** For the line above the cards. */
    parts: [stop, make('span', { class: 'upload-progress' }, text, progress)],
    /** For the line that says how many were not sent. */
    recovery: [resume, discard],
    add,
    /** @param {Upload} upload */
    retry: (upload) => retry([upload]),
    /** @param {Upload} upload */
    remove: (upload) => remove([upload]),
  }
}
