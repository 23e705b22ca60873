// What is done in the Relabel tab, and can be undone: training labels, of one image or a selection,
// requests for a second opinion, skips.

/** @import { Undo } from '../shared/history.js' */
/** @import { Action, MessageLine } from '../shared/messageLine.js' */
/** @import { LabelCard, TrainingLabel } from './labelCard.js' */

import { exposureOf } from '../shared/exposure.js'
import { makeCardHistory } from '../shared/history.js'
import { may, READ_ONLY } from '../shared/permissions.js'
import {
  messageOf,
  requestSecondOpinion,
  setTrainingLabel,
  unsavedDecisions,
  withdrawSecondOpinion,
  withdrawTrainingLabel,
} from '../shared/server.js'
import { stalledMessage } from '../shared/unsavedList.js'
import { describeLabel } from './labelCard.js'

/**
 * A card shows a label only after the server has recorded it.
 *
 * @param {object} options
 * @param {MessageLine} options.line
 * @param {() => void} options.onChange Called after labels have changed.
 */
export function makeTrainingLabels({ line, onChange }) {
  const { begin, say } = line
  /** @type {ReturnType<typeof makeCardHistory<LabelCard>>} */
  const history = makeCardHistory({ line, onChange })

  /** Whether a label is accepted now; says why not. */
  function isAllowed() {
    const problem = may('review') ? stalledMessage() : READ_ONLY
    if (problem) say(problem)
    return !problem
  }

  /**
   * Labels each card; one undo takes all of them back.
   *
   * @param {LabelCard[]} cards
   * @param {(card: LabelCard) => TrainingLabel} labelOf
   */
  async function save(cards, labelOf) {
    if (!cards.length || !isAllowed()) return
    for (const card of cards) card.setSaving()
    const sent = saveEach(cards, labelOf)
    history.add(sent)
    await sent
    onChange()
  }

  /**
   * @param {LabelCard[]} cards
   * @param {(card: LabelCard) => TrainingLabel} labelOf
   * @returns {Promise<Undo<LabelCard> | null>}
   */
  async function saveEach(cards, labelOf) {
    /** @type {{ card: LabelCard, before: string | null }[]} */
    const saved = []
    const action = begin()
    await Promise.all(
      cards.map(async (card) => {
        const before = card.confirmed
        try {
          await store(card, labelOf(card) ?? '')
          saved.push({ card, before })
        } catch (error) {
          dismissRefused(card)
          card.setLabel(before, messageOf(error))
        }
      }),
    )
    const failed = cards.length - saved.length
    const outcome = failed ? say : action.done
    outcome([...summarize(saved.map(({ card }) => card)), ...notSaved(failed)].join(' '))
    return saved.length ? (undoing) => restore(saved, undoing) : null
  }

  /**
   * Records a label as the server stores it: empty excludes, null withdraws.
   *
   * @param {LabelCard} card
   * @param {string | null} confirmed
   */
  async function store(card, confirmed) {
    const label = /** @type {TrainingLabel} */ (confirmed || null)
    if (confirmed === null) await withdrawTrainingLabel(card.item.prediction_id)
    else await setTrainingLabel(card.item, label, exposureOf(card.item))
    card.setLabel(confirmed)
  }

  /**
   * @param {{ card: LabelCard, before: string | null }[]} saved
   * @param {Action} action
   */
  async function restore(saved, action) {
    for (const { card, before } of saved) await store(card, before)
    const [{ card, before }] = saved
    action.done(
      saved.length === 1
        ? `Undone: ${card.image.name}. ${describeLabel(before)}.`
        : `Undone: the training labels of ${saved.length} images.`,
    )
    return card
  }

  /**
   * Puts an image back into the queue, for another decision.
   *
   * @param {LabelCard} card
   */
  async function escalate(card) {
    if (!may('review')) {
      say(READ_ONLY)
      return
    }
    const { image } = card
    const action = begin()
    const sent = requestSecondOpinion(image).then(
      () => {
        card.setState('In the queue for a second opinion')
        action.done(`${image.name} is in the queue for a second opinion.`)
        return async (/** @type {Action} */ undoing) => {
          await withdrawSecondOpinion(image)
          card.setLabel(card.confirmed)
          undoing.done(`Undone: the request for a second opinion on ${image.name}.`)
          return card
        }
      },
      (error) => {
        say(messageOf(error))
        return null
      },
    )
    history.add(sent)
    await sent
  }

  return { isAllowed, save, escalate, skip: history.skip, undoLast: history.undoLast }
}

/** The card says why its label was refused, so it is not listed as unsaved. @param {LabelCard} card */
function dismissRefused({ item: { prediction_id: id } }) {
  for (const item of unsavedDecisions.items.value)
    if (item.state === 'refused' && item.path === `training/${id}`) unsavedDecisions.dismiss(item)
}

/** @param {LabelCard[]} cards */
function summarize(cards) {
  if (cards.length !== 1) return cards.length ? [`Saved: ${cards.length} images.`] : []
  const [card] = cards
  return [`Saved: ${card.image.name}. ${describeLabel(card.confirmed)}.`]
}

/** @param {number} failed */
const notSaved = (failed) =>
  failed ? [`Not saved: ${failed === 1 ? 'one image' : `${failed} images`}; see the cards.`] : []
