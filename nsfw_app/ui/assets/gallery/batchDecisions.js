// What is done to cards of the grid, and can be undone: decisions, one by one or as a batch, requests
// for a second opinion, skips.

/** @import { FormValues } from '../shared/decisionForm.js' */
/** @import { Undo } from '../shared/history.js' */
/** @import { Action, MessageLine } from '../shared/messageLine.js' */
/** @import { Label } from '../shared/policy.js' */
/** @import { Decision, Image, NewDecision } from '../shared/server.js' */
/** @import { Card } from './card.js' */

import { exposureOf } from '../shared/exposure.js'
import { makeCardHistory } from '../shared/history.js'
import { may, READ_ONLY } from '../shared/permissions.js'
import {
  decide,
  decideAll,
  messageOf,
  requestSecondOpinion,
  undo,
  undoBatch,
  withdrawSecondOpinion,
} from '../shared/server.js'
import { stalledMessage } from '../shared/unsavedList.js'

const MAX_DECISIONS = 1000 // decisions in one request, the server's limit

/**
 * Saves and undoes. A card shows a decision only after the server has recorded it.
 *
 * @param {object} options
 * @param {() => { threshold: number, policyVersion: number | null }} options.onScreen What the
 *   verdicts on screen follow.
 * @param {MessageLine} options.line
 * @param {() => void} options.onChange Called when the decisions in force have changed.
 */
export function makeBatchDecisions({ onScreen, line, onChange }) {
  const { begin, say } = line
  /** @type {ReturnType<typeof makeCardHistory<Card>>} */
  const history = makeCardHistory({ line, onChange })

  /** Whether a decision is accepted now; says why not. */
  function isAllowed() {
    const problem = may('review') ? stalledMessage() : READ_ONLY
    if (problem) say(problem)
    return !problem
  }

  /**
   * Records one decision.
   *
   * @param {Card} card
   * @param {{ label: Label } & Partial<FormValues>} values
   */
  async function save(card, values) {
    if (!card.classified || !isAllowed()) return
    const { batchId } = card.image
    card.setSaving()
    const sent = record(card, { ...values, ...circumstances(card), batchId })
    history.add(sent)
    await sent
  }

  /** @param {Card} card */
  function circumstances({ image }) {
    /** @type {'gallery'} */
    const tab = 'gallery'
    return { ...onScreen(), tab, ...exposureOf(image) }
  }

  /**
   * @param {Card} card
   * @param {NewDecision} decision
   * @returns {Promise<Undo<Card> | null>}
   */
  async function record(card, decision) {
    const { image } = card
    const action = begin()
    try {
      const recorded = await decide(image, decision)
      card.setDecision(recorded)
      action.done(`Saved: ${image.name} is ${decision.label}.`)
      return (undoing) => undoOne(card, recorded.decision_id, undoing)
    } catch (error) {
      card.setDecision(card.decision)
      say(`Not saved: ${image.name}. ${messageOf(error)}`)
      return null
    } finally {
      onChange()
    }
  }

  /**
   * Records a decision about each card as one batch; images without a verdict are left out.
   * Resolves to the cards to look at again: none when all were saved, those that the server refused,
   * or all.
   *
   * @param {Card[]} cards
   * @param {(card: Card) => { label: Label } & Partial<FormValues>} valuesOf
   */
  async function saveAll(cards, valuesOf) {
    const classified = cards.filter((card) => card.classified)
    if (!isAllowed()) return []
    if (!classified.length) {
      say('Nothing to decide: none of these images could be classified.')
      return []
    }
    if (classified.length > MAX_DECISIONS) {
      say(
        `Not saved: ${classified.length} images. The limit is ${MAX_DECISIONS} decisions at a time.`,
      )
      return cards
    }
    const batchId = crypto.randomUUID()
    const decisions = classified.map((card) => ({
      image: card.image,
      ...valuesOf(card),
      ...circumstances(card),
      batchId,
    }))
    for (const card of classified) card.setSaving()
    /** @type {Card[]} */
    const unsaved = []
    const sent = recordAll(
      classified,
      decisions,
      batchId,
      cards.length - classified.length,
      unsaved,
    )
    history.add(sent)
    await sent
    return unsaved
  }

  /**
   * @param {Card[]} cards
   * @param {(NewDecision & { image: Image })[]} decisions
   * @param {string} batchId
   * @param {number} omitted
   * @param {Card[]} unsaved Filled when the server refuses.
   * @returns {Promise<Undo<Card> | null>}
   */
  async function recordAll(cards, decisions, batchId, omitted, unsaved) {
    const before = cards.map((card) => ({ card, decision: card.decision }))
    const action = begin()
    try {
      const recorded = await decideAll(decisions)
      cards.forEach((card, index) => {
        card.setDecision(recorded[index])
      })
      const rest = omitted
        ? ` ${omitted} that could not be classified ${omitted === 1 ? 'was' : 'were'} left out.`
        : ''
      action.done(`Saved: ${counted(cards.length)}, ${countLabels(decisions)}.${rest}`)
      return (undoing) => undoMany(batchId, before, undoing)
    } catch (error) {
      for (const card of cards) card.setDecision(card.decision)
      unsaved.push(...refusedOf(error, cards))
      say(`Not saved: ${counted(cards.length)}. ${messageOf(error)}`)
      return null
    } finally {
      onChange()
    }
  }

  /**
   * Requests a second opinion.
   *
   * @param {Card} card
   */
  async function escalate(card) {
    if (!may('review')) {
      say(READ_ONLY)
      return
    }
    const sent = requestFor(card)
    history.add(sent)
    await sent
  }

  /**
   * @param {Card} card
   * @returns {Promise<Undo<Card> | null>}
   */
  async function requestFor(card) {
    const { image } = card
    const action = begin()
    try {
      await requestSecondOpinion(image)
      action.done(`${image.name} is in the queue for a second opinion.`)
      return async (undoing) => {
        await withdrawSecondOpinion(image)
        undoing.done(`The request for a second opinion is withdrawn: ${image.name}.`)
        return card
      }
    } catch (error) {
      say(messageOf(error))
      return null
    }
  }

  /**
   * @param {Card} card
   * @param {number} id
   * @param {Action} action
   */
  async function undoOne(card, id, action) {
    card.setDecision((await undo(id)).standing)
    action.done(
      `Undone: the decision about ${card.image.name}. It stays in the log, marked as undone.`,
    )
    return card
  }

  /**
   * @param {string} batchId
   * @param {{ card: Card, decision: Decision | null }[]} before
   * @param {Action} action
   */
  async function undoMany(batchId, before, action) {
    await undoBatch(batchId)
    for (const { card, decision } of before) card.setDecision(decision)
    action.done(
      `Undone: the decisions about ${counted(before.length)}. They stay in the log, marked as undone.`,
    )
    return before[0].card
  }

  return { isAllowed, save, saveAll, escalate, skip: history.skip, undoLast: history.undoLast }
}

/**
 * The cards whose decisions the server refused; all of them where it names none.
 *
 * @param {unknown} error
 * @param {Card[]} cards
 */
function refusedOf(error, cards) {
  const images = error instanceof Error && 'images' in error ? error.images : null
  if (!Array.isArray(images)) return cards
  const named = cards.filter(({ image }) => images.includes(image.sha256))
  return named.length ? named : cards
}

/** @param {number} count */
const counted = (count) => `${count} ${count === 1 ? 'image' : 'images'}`

/** @param {NewDecision[]} decisions */
function countLabels(decisions) {
  /** @type {Map<Label, number>} */
  const counts = new Map()
  for (const { label } of decisions) counts.set(label, (counts.get(label) ?? 0) + 1)
  return [...counts].map(([label, count]) => `${count} as ${label}`).join(', ')
}
