// Earlier uploads and the latest decisions, which the server lists: each is opened again with what
// retention still holds.

/** @import { Decided } from '../shared/recentDecisions.js' */
/** @import { Batch, Image } from '../shared/server.js' */

import { make } from '../shared/dom.js'
import { makeRecentList } from '../shared/recentDecisions.js'
import { galleryBatch, galleryBatches, messageOf } from '../shared/server.js'

/**
 * Creates the button that opens the list.
 *
 * @param {object} handlers
 * @param {(images: Image[]) => void} handlers.onImages Called with the images of a chosen upload.
 * @param {(image: Decided) => void} handlers.onDecided Called with a chosen image.
 * @param {(message: string) => void} handlers.say
 */
export function makeBatches({ onImages, onDecided, say }) {
  const list = make('ul', { class: 'batch-list' })
  const message = make('p', { class: 'muted', role: 'status' })
  const dialog = make(
    'dialog',
    { class: 'viewing earlier', 'aria-labelledby': 'batches-title' },
    make('h2', { id: 'batches-title' }, 'Earlier uploads'),
    message,
    list,
    make('h2', {}, 'Recent decisions'),
    makeRecentList((image) => {
      dialog.close()
      onDecided(image)
    }),
    make('form', { method: 'dialog' }, make('button', { class: 'quiet' }, 'Close')),
  )
  const button = make(
    'button',
    {
      id: 'earlier',
      type: 'button',
      class: 'quiet',
      title: 'Uploads and decisions',
      onclick: open,
    },
    'Earlier',
  )

  async function open() {
    if (!dialog.isConnected) document.body.append(dialog)
    list.replaceChildren()
    message.textContent = 'Loading'
    dialog.showModal()
    try {
      const batches = await galleryBatches()
      message.textContent = batches.length ? '' : 'There are none.'
      list.replaceChildren(...batches.map(line))
    } catch (error) {
      message.textContent = messageOf(error)
    }
  }

  /** @param {Batch} batch */
  function line(batch) {
    const { name, images, kept, first_at } = batch
    const size = images === 1 ? '1 image' : `${images} images`
    const rest = kept < images ? `, ${kept} with a preview` : ''
    const when = new Date(first_at).toLocaleString(undefined, {
      dateStyle: 'medium',
      timeStyle: 'short',
    })
    return make(
      'li',
      {},
      make(
        'button',
        { type: 'button', onclick: () => reopen(batch) },
        make('bdi', {}, name || 'Upload'),
        make('span', { class: 'muted' }, `${size}${rest}, ${when}`),
      ),
    )
  }

  /** @param {Batch} batch */
  async function reopen({ batch_id: batchId }) {
    message.textContent = 'Loading'
    try {
      const { cards, left_out: leftOut, why } = await galleryBatch(batchId)
      onImages(cards.map((image) => ({ ...image, batchId })))
      const shown = cards.length === 1 ? '1 image is' : `${cards.length} images are`
      say(`${shown} shown again.${leftOut ? ` ${leftOut} left out: ${why}` : ''}`)
      dialog.close()
    } catch (error) {
      message.textContent = messageOf(error)
    }
  }

  return { button }
}
