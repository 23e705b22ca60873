// Uploads files and shows progress; Stop keeps what was classified.

/** @import { Image } from '../shared/server.js' */

import { make } from '../shared/dom.js'
import { addImage, status } from '../shared/server.js'

/** @typedef {{ files: File[], total: number, done: number, batchId: string, stopped: boolean }} Run */

/**
 * One upload at a time; files added during it join it.
 *
 * @param {{ onImage: (image: Image) => void }} handlers Called with each image once classified.
 */
export function makeUploads({ onImage }) {
  /** @type {Run | null} */
  let run = null
  const progress = make('progress', {
    'aria-label': 'Files classified',
    hidden: true,
    max: 1,
    value: 0,
  })
  const text = make('span', { class: 'progress-text', role: 'status' })
  const stop = make(
    'button',
    { id: 'stop', type: 'button', disabled: true, onclick: stopRun },
    'Stop',
  )

  /** @param {File[]} files */
  async function add(files) {
    if (run && !run.stopped) {
      run.files.push(...files)
      run.total += files.length
      draw(run)
      return
    }
    const own = {
      files,
      total: files.length,
      done: 0,
      batchId: crypto.randomUUID(),
      stopped: false,
    }
    run = own
    draw(own)
    const length = status.value?.uploads_at_once ?? 1
    await Promise.all(Array.from({ length }, () => work(own)))
    if (run === own) {
      run = null
      draw(own)
    }
  }

  /** @param {Run} own */
  async function work(own) {
    while (!own.stopped) {
      const file = own.files.shift()
      if (!file) return
      const image = await addImage(file, 'gallery', own.batchId)
      own.done += 1
      image.batchId = own.batchId
      onImage(image)
      if (run === own) draw(own)
    }
  }

  /** Files already sent are still classified and kept. */
  function stopRun() {
    if (run) run.stopped = true
  }

  /** @param {Run} drawn */
  function draw({ total, done, stopped }) {
    stop.disabled = !run
    progress.hidden = !run
    progress.max = total
    progress.value = done
    const share = `${done} of ${total}`
    text.textContent = run ? `Classifying ${share}` : `${stopped ? 'Stopped' : 'Done'}: ${share}`
  }

  return { parts: [stop, progress, text], add }
}
