// The Relabel tab: settled misclassifications, to be confirmed, corrected or excluded as training
// labels.

/** @import { Misclassified } from '../shared/server.js' */
/** @import { LabelCard as Card, TrainingLabel } from './labelCard.js' */

import { makeSelection } from '../gallery/selection.js'
import { makeCardKeys } from '../shared/cardKeys.js'
import { closest, make, regionOf, watchVisibility } from '../shared/dom.js'
import { makeExplanationBox } from '../shared/explanationBox.js'
import { toggleHelp, useKeys } from '../shared/keys.js'
import { followInLoupe, toggleLoupe } from '../shared/loupe.js'
import { makeMessageLine } from '../shared/messageLine.js'
import { may } from '../shared/permissions.js'
import {
  messageOf,
  misclassifications,
  trainingLabelsUrl,
  trainingLeftOut,
} from '../shared/server.js'
import { CHOICES, LabelCard } from './labelCard.js'
import { makeLabelGrid } from './labelGrid.js'
import { makeTrainingLabels } from './trainingLabels.js'

const PAGE_ROWS = 3 // that PageUp and PageDown move

const NOTHING =
  'A disagreement is settled when a second reviewer makes the same decision. A single reviewer ' +
  'can set NSFW_ANSWERS to disagreement=1.'

/** @param {Card} card */
const settled = (card) => card.settled

/**
 * Builds the tab in the grid's region. Loads the list whenever the tab is opened.
 *
 * @param {HTMLElement} root
 */
export async function mount(root) {
  const tools = await regionOf('relabel-tools')
  /** @type {Map<number, Card>} By prediction: a reload keeps cards, and with them focus and undo. */
  const cards = new Map()
  let total = 0
  let hidden = 0
  let counted = 0 // requests for what the export leaves out

  const summary = make('span', { class: 'summary', role: 'status' })
  const leftOut = make('p', { class: 'left-out', hidden: true })
  const unexported = make('p', { class: 'left-out export' })
  const message = make('p', { class: 'message', role: 'status' })
  const empty = make('p', { class: 'empty', hidden: true }, NOTHING)
  const line = makeMessageLine((...words) => message.replaceChildren(...words))
  const { say } = line

  const grid = makeLabelGrid()
  const selection = makeSelection({ visible: grid.cards, onChange: drawBar })
  const labels = makeTrainingLabels({ line, onChange: drawChange })
  const cardKeys = makeCardKeys({
    grid,
    selection,
    row: grid.columns,
    page: () => PAGE_ROWS * grid.columns(),
    count: () => grid.cards().length,
    onSkip: (card) => labels.skip(card),
    say,
    onMove: follow,
  })
  const { cardInFocus, moveOn, pick } = cardKeys

  /** @param {(Node | string)[]} words @param {() => unknown} onclick @param {Record<string, any>} [attributes] */
  const button = (words, onclick, attributes = {}) =>
    make('button', { type: 'button', class: 'quiet', onclick, ...attributes }, ...words)
  const link = {
    class: 'button export',
    href: trainingLabelsUrl,
    download: 'training-labels.jsonl',
  }
  tools.replaceChildren(
    make(
      'div',
      { class: 'tool-line' },
      summary,
      button(['Undo', make('kbd', {}, 'Backspace')], undoLast),
      button(['Keys', make('kbd', {}, '?')], toggleHelp),
      button(['Refresh'], load),
      make('a', link, 'Export confirmed labels'),
    ),
  )

  const count = make('span', { class: 'selection-count', role: 'status' })
  const bar = make(
    'div',
    { class: 'selection-bar', role: 'group', 'aria-label': 'Label several images', hidden: true },
    count,
    make(
      'div',
      { class: 'selection-actions' },
      button(['Confirm settled label'], () => labelSelection(settled), { class: '' }),
      ...CHOICES.map(([label, word]) =>
        button([word], () => labelSelection(() => label), { class: '' }),
      ),
      button(['Clear'], () => selection.clear(), { class: 'quiet clear' }),
    ),
  )
  const box = makeExplanationBox()
  root.replaceChildren(empty, grid.element, box.element, message, leftOut, unexported, bar)

  async function load() {
    try {
      const list = await misclassifications()
      total = list.total
      hidden = list.hidden
      const namesModel = new Set(list.groups.flat().map(({ model }) => model)).size > 1
      grid.show(
        list.groups.flatMap((group) =>
          group.map((item) => cardFor(item, { nearDuplicates: group.length, namesModel })),
        ),
      )
      selection.clear()
      drawChange()
      empty.hidden = total > 0
    } catch (error) {
      say(messageOf(error))
    }
  }

  /**
   * The card of an image, with its label as stored now.
   *
   * @param {Misclassified} item
   * @param {{ nearDuplicates: number, namesModel: boolean }} list
   */
  function cardFor(item, list) {
    const known = cards.get(item.prediction_id)
    if (known) {
      if (!known.saving) known.setLabel(item.confirmed)
      return known
    }
    const card = new LabelCard(item, {
      ...list,
      onLabel: (card, label) => labels.save([card], () => label),
      onFocus: grid.setCurrent,
      onPick: (card, event) => pick(card, event, { toggling: true }),
    })
    cards.set(item.prediction_id, card)
    return card
  }

  function draw() {
    const listed = grid.cards()
    const open = listed.filter((card) => card.confirmed === null).length
    const words = listed.length === 1 ? 'misclassification' : 'misclassifications'
    summary.textContent = `${listed.length} settled ${words}, ${open} without a training label`
    const lines = describeLeftOut(listed, { total, hidden })
    leftOut.hidden = !lines.length
    leftOut.textContent = lines.join(' ')
    follow()
  }

  function drawChange() {
    draw()
    drawUnexported()
  }

  async function drawUnexported() {
    const number = ++counted
    try {
      const words = may('export') ? await trainingLeftOut() : ''
      if (number === counted) unexported.textContent = words && `The export: ${words}`
    } catch {
      // The counts of the last time stay; the top bar shows an outage.
    }
  }

  function drawBar() {
    bar.hidden = selection.size === 0
    count.textContent = `${selection.size} selected`
  }

  grid.element.addEventListener('dblclick', (event) => {
    if (closest(event, '.card') && !closest(event, 'button, details')) enlarge()
  })

  function follow() {
    const card = grid.current
    if (card) followInLoupe(card.image, card.preview, { text: card.describe() })
  }

  function enlarge() {
    const card = grid.current
    toggleLoupe(card?.image, card?.preview, {
      text: card?.describe(),
      onClose: () => grid.focus(grid.current),
    })
  }

  /** @param {(card: Card) => TrainingLabel} labelOf */
  function labelSelection(labelOf) {
    if (!labels.isAllowed()) return
    const chosen = selection.cards()
    selection.clear()
    grid.focus(chosen.at(-1))
    return labels.save(chosen, labelOf)
  }

  /**
   * Labels the selection, or the focused card and moves on to the next.
   *
   * @param {(card: Card) => TrainingLabel} labelOf
   */
  const label = (labelOf) => () => {
    if (selection.size > 1) return labelSelection(labelOf)
    const card = cardInFocus()
    if (!card || !labels.isAllowed()) return
    moveOn()
    return labels.save([card], labelOf)
  }

  async function undoLast() {
    const card = await labels.undoLast()
    if (card && grid.cards().includes(card)) grid.focus(card)
  }

  function escalate() {
    const card = cardInFocus()
    if (!card) return
    moveOn()
    labels.escalate(card)
  }

  useKeys(root, {
    keys: {
      ...cardKeys.keys,
      a: label(settled),
      1: label(() => 'normal'),
      2: label(() => 'nsfw'),
      x: label(() => null),
      Enter: enlarge,
      'Ctrl+a': () => selection.choose(grid.cards()),
      undo: undoLast,
      f: escalate,
      n: () => cardInFocus()?.toggleNotes(),
    },
    reveal: cardKeys.reveal,
    stage: cardKeys.stage,
  })
  watchVisibility(root, (visible) => visible && load())
}

/**
 * What the list lacks, in sentences.
 *
 * @param {Card[]} listed
 * @param {{ total: number, hidden: number }} counts
 */
function describeLeftOut(listed, { total, hidden }) {
  const lines = []
  const more = total - listed.length
  if (more > 0) {
    lines.push(
      `The list has the ${listed.length} with the largest error; ${more} more follow as these are labeled.`,
    )
  }
  const bare = listed.filter((card) => !card.item.kept).length
  if (bare === 1) lines.push('One image has no preview any more and cannot be revealed.')
  else if (bare) lines.push(`${bare} images have no preview any more and cannot be revealed.`)
  if (hidden === 1) lines.push('One image is hidden because a minor may be present.')
  else if (hidden) lines.push(`${hidden} images are hidden because a minor may be present.`)
  return lines
}
