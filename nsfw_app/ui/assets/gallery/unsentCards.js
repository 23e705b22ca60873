// Cards of files that were not sent. A later success replaces the card.

/** @import { CardHandlers } from './card.js' */
/** @import { Upload } from './uploads.js' */

import { Card } from './card.js'

/**
 * @param {object} options
 * @param {{ add: (card: Card) => void, remove: (card: Card) => void }} options.grid
 * @param {Pick<CardHandlers, 'onFocus' | 'onPick'>} options.handlers
 * @param {(upload: Upload) => void} options.onRetry
 * @param {(upload: Upload) => void} options.onRemove
 */
export function makeUnsentCards({ grid, handlers, onRetry, onRemove }) {
  /** @type {Map<Upload, Card>} */
  const cards = new Map()
  const nothing = () => {}
  const unused = { onAgree: nothing, onDisagree: nothing, onGroup: nothing }

  /** @param {Upload} upload */
  function makeCard(upload) {
    const { name } = upload.file
    const error = { kind: 'not_sent', message: upload.why }
    const card = new Card(
      { name, nsfw_score: null, label: null, action: 'unavailable', error },
      { hash: null, expanded: false },
      { ...unused, ...handlers },
    )
    card.setUnsent({ onRetry: () => onRetry(upload), onRemove: () => onRemove(upload) })
    return card
  }

  return {
    /** @param {Upload} upload */
    show(upload) {
      let card = cards.get(upload)
      if (!card) {
        card = makeCard(upload)
        cards.set(upload, card)
        grid.add(card)
      }
      card.explainUnsent(upload.why)
    },
    /** @param {Upload} upload */
    remove(upload) {
      const card = cards.get(upload)
      cards.delete(upload)
      if (card) grid.remove(card)
    },
  }
}
