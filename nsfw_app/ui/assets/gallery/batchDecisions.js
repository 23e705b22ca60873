// The answers given in the grid, one by one or to many cards at once, and the way back.

import { makeHistory } from '../shared/history.js'
import { LOOKS_ONLY, may } from '../shared/permissions.js'
import { decide, decideAll, undo, undoBatch } from '../shared/server.js'
import { markAnswer, markSaving } from './card.js'

const MAX_BATCH = 1000 // answers in one request, the server's limit

/**
 * Saves and takes back. `threshold` gives the one on screen, `say` shows a sentence, `onChange` is
 * told when what stands has changed. A card is marked as answered only after the server said so.
 */
export function makeAnswers({ threshold, say, onChange }) {
  const history = makeHistory()

  function allowed() {
    if (!may('review')) say(LOOKS_ONLY)
    return may('review')
  }

  /** Records one answer. */
  function save(card, { label, reasons = [], note = '' }) {
    const { image } = card
    if (image.error || !allowed()) return Promise.resolve()
    const answer = { label, reasons, note, threshold: threshold(), batchId: image.batchId }
    markSaving(card, label)
    const sent = deliver(card, answer)
    history.add(sent)
    return sent
  }

  async function deliver(card, answer) {
    const { image } = card
    try {
      const decision = await decide(image, answer)
      markAnswer(card, decision)
      say(`Saved: ${image.name} is ${answer.label}.`)
      return () => undoOne(card, decision.decision_id)
    } catch (error) {
      markAnswer(card, image.decision)
      say(`Not saved: ${image.name}. ${error.message}`)
      return null
    } finally {
      onChange()
    }
  }

  /**
   * Records one answer for each card, all or none, in one request under a batch id of its own.
   * Resolves to whether they were saved.
   */
  async function saveAll(cards, labelOf) {
    const judged = cards.filter((card) => !card.image.error)
    if (!allowed()) return true
    if (!judged.length) {
      say('Nothing to answer: none of these images could be judged.')
      return true
    }
    if (judged.length > MAX_BATCH) {
      say(`Not saved: ${judged.length} images. At most ${MAX_BATCH} can be answered at once.`)
      return false
    }
    const batchId = crypto.randomUUID()
    const at = threshold()
    const answers = judged.map((card) => ({
      image: card.image,
      label: labelOf(card),
      threshold: at,
      batchId,
    }))
    judged.forEach((card, index) => {
      markSaving(card, answers[index].label)
    })
    const sent = deliverAll(judged, answers, cards.length - judged.length)
    history.add(sent)
    return Boolean(await sent)
  }

  async function deliverAll(judged, answers, left) {
    const [{ batchId }] = answers
    const before = judged.map((card) => ({ card, before: card.image.decision }))
    try {
      const decisions = await decideAll(answers)
      judged.forEach((card, index) => {
        markAnswer(card, decisions[index])
      })
      say(
        `Saved: ${counted(judged.length)}, ${summed(answers)}.` +
          (left
            ? ` ${left} that could not be judged ${left === 1 ? 'was' : 'were'} left out.`
            : ''),
      )
      return () => undoMany(batchId, before)
    } catch (error) {
      for (const card of judged) markAnswer(card, card.image.decision)
      say(`Not saved: ${counted(judged.length)}. ${error.message}`)
      return null
    } finally {
      onChange()
    }
  }

  /** Takes back the latest answer or batch. Resolves to the card to look at, or undefined. */
  async function undoLast() {
    try {
      const card = await history.undoLast()
      if (!card) say('Nothing to undo.')
      return card ?? undefined
    } catch (error) {
      say(`Not undone. ${error.message}`)
      return undefined
    } finally {
      onChange()
    }
  }

  async function undoOne(card, id) {
    markAnswer(card, await undo(id))
    say(`Undone: the answer about ${card.image.name}. It stays in the log, marked as undone.`)
    return card
  }

  async function undoMany(batchId, cards) {
    await undoBatch(batchId)
    for (const { card, before } of cards) markAnswer(card, before)
    say(
      `Undone: the answers about ${counted(cards.length)}. They stay in the log, marked as undone.`,
    )
    return cards[0].card
  }

  return { save, saveAll, undoLast }
}

const counted = (count) => `${count} ${count === 1 ? 'image' : 'images'}`

function summed(answers) {
  const counts = new Map()
  for (const { label } of answers) counts.set(label, (counts.get(label) ?? 0) + 1)
  return [...counts].map(([label, count]) => `${count} as ${label}`).join(', ')
}
