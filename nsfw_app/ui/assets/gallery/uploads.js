// Files on their way to the model: what is scored, how far it is, and a stop that keeps what is done.

import { make } from '../shared/dom.js'
import { addImage } from '../shared/server.js'

const AT_ONCE = 2 // requests; one is judged while the next is sent

/** One upload at a time; files added meanwhile join it. `onImage` gets each image as it is scored. */
export function makeUploads({ onImage }) {
  let run = null
  const progress = make('progress', {
    'aria-label': 'Files scored',
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

  async function add(files) {
    if (run && !run.stopped) {
      run.files.push(...files)
      run.total += files.length
      draw(run)
      return
    }
    const mine = {
      files,
      total: files.length,
      done: 0,
      batch: crypto.randomUUID(),
      stopped: false,
    }
    run = mine
    draw(mine)
    await Promise.all(Array.from({ length: AT_ONCE }, () => work(mine)))
    if (run === mine) {
      run = null
      draw(mine)
    }
  }

  async function work(mine) {
    while (mine.files.length && !mine.stopped) {
      const image = await addImage(mine.files.shift(), 'gallery', mine.batch)
      mine.done += 1
      image.batchId = mine.batch
      onImage(image)
      if (run === mine) draw(mine)
    }
  }

  function stopRun() {
    if (run) run.stopped = true // what is on its way is still judged and kept
  }

  function draw({ total, done, stopped }) {
    stop.disabled = !run
    progress.hidden = !run
    progress.max = total
    progress.value = done
    const share = `${done} of ${total}`
    text.textContent = run ? `Scoring ${share}` : `${stopped ? 'Stopped' : 'Done'}: ${share}`
  }

  return { parts: [stop, progress, text], add }
}
