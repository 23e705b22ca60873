// The Gallery tab: many files, classified as they arrive, decided by key or click.

/** @import { Label, ModelLabel } from '../shared/policy.js' */
/** @import { Image } from '../shared/server.js' */
/** @import { GridState } from './grid.js' */

import { closest, make, regionOf } from '../shared/dom.js'
import { fillDropZone } from '../shared/dropZone.js'
import { useKeys } from '../shared/keys.js'
import { INITIAL_POLICY, opposite, parseThreshold, policyAt } from '../shared/policy.js'
import { messageOf, requestSecondOpinion, status } from '../shared/server.js'
import { makeBatchDecisions } from './batchDecisions.js'
import { makeBatches } from './batches.js'
import { Card } from './card.js'
import { openDecisionDialog } from './decisionDialog.js'
import { makeGroups } from './duplicates.js'
import { makeFilters } from './filters.js'
import { makeGrid } from './grid.js'
import { makeSelection, makeSelectionBar } from './selection.js'
import { fillToolbar } from './toolbar.js'
import { makeUnsentCards } from './unsentCards.js'
import { makeUploads } from './uploads.js'

/** @typedef {(card: Card) => Label} LabelOf */

/** @param {Card} card @returns {ModelLabel} */
const modelLabel = (card) => card.label ?? 'normal'
/** @param {Card} card */
const otherLabel = (card) => opposite(card.label)
/** @param {Label} label @returns {LabelOf} */
const always = (label) => () => label

/**
 * Builds the tab in the grid's region. The component's value is the threshold.
 *
 * @param {HTMLElement} root
 * @param {{ props: { value: unknown }, watch: (name: string, listener: () => void) => void }} component
 */
export async function mount(root, { props, watch }) {
  const [input, tools] = await Promise.all(['gallery-upload', 'gallery-tools'].map(regionOf))
  /** @type {Map<string, Card>} */
  const cards = new Map()
  const groupOf = makeGroups()
  let policy = INITIAL_POLICY
  /** @type {Card[]} Cards on screen without a decision. */
  let open = []

  const summary = make('p', { class: 'summary', role: 'status' })
  const message = make('p', { class: 'message', role: 'status' })
  const empty = make('p', { class: 'empty' })
  /** @param {string} text */
  const say = (text) => {
    message.textContent = text
  }
  const filters = makeFilters({ onChange: () => grid.refresh() })
  const grid = makeGrid({ filters, onRefresh: draw })
  const selection = makeSelection({ visible: grid.shown, onChange: drawBar })
  const bar = makeSelectionBar({
    onAgree: () => decideMany(selection.cards(), modelLabel),
    onLabel: (label) => decideMany(selection.cards(), always(label)),
    onClear: () => selection.clear(),
    onAgreeWithRest: agreeWithRest,
  })
  const decisions = makeBatchDecisions({
    threshold: () => policy.threshold,
    say,
    onChange: () => grid.refresh(),
  })
  const unsent = makeUnsentCards({
    grid,
    handlers: {
      onFocus: (card) => grid.setCurrent(card),
      onPick: (card, event) => pick(card, event, { toggling: true }),
    },
    onRetry: (upload) => uploads.retry(upload),
    onRemove: (upload) => uploads.remove(upload),
  })
  const uploads = makeUploads({
    onImage: (image, upload) => {
      unsent.remove(upload)
      place(image)
    },
    onUnsent: unsent.show,
    onRemoved: unsent.remove,
  })
  const batches = makeBatches({ onImages: (images) => images.forEach(place), say })
  uploads.parts.push(batches.button)
  root.replaceChildren(summary, message, empty, grid.element, bar.element)
  fillToolbar(tools, { filters, grid, uploads })

  /** @param {File[]} files */
  function add(files) {
    const limit = status.value?.max_files ?? files.length
    const accepted = files.slice(0, limit)
    const omitted = files.length - accepted.length
    say(
      omitted
        ? `The first ${accepted.length} of ${files.length} files were added; ${omitted} were left out. The limit is ${limit}.`
        : '',
    )
    uploads.add(accepted)
  }

  /** @param {Image} image */
  function place(image) {
    const key = image.error ? `${image.sha256 ?? ''} ${image.name}` : (image.sha256 ?? '')
    const earlier = cards.get(key)
    if (earlier) {
      earlier.addFile(image)
      grid.refresh()
      return
    }
    const card = new Card(image, groupOf(image.perceptual_hash), {
      onAgree: (card) => decisions.save(card, { label: modelLabel(card) }),
      onDisagree: (card) => decisions.save(card, { label: otherLabel(card) }),
      onFocus: (card) => grid.setCurrent(card),
      onPick: (card, event) => pick(card, event, { toggling: true }),
      onGroup: ({ group }) => {
        group.expanded = !group.expanded
        grid.refresh()
      },
    })
    cards.set(key, card)
    card.applyPolicy(policy)
    grid.add(card)
  }

  function applyPolicy() {
    for (const card of cards.values()) card.applyPolicy(policy)
    grid.setPolicy(policy)
    grid.refresh()
  }

  /** @param {GridState} state */
  function draw({ total, summary: words, shown }) {
    selection.keepVisible()
    open = shown.filter((card) => card.classified && !card.decision && !card.saving)
    summary.hidden = total === 0
    if (summary.textContent !== words) summary.textContent = words
    empty.hidden = shown.length > 0
    empty.textContent = total
      ? 'No image matches the filters. Change or clear them above.'
      : 'Add files above. Cards appear here as they are classified, all blurred.'
    bar.element.hidden = total === 0
    drawBar()
  }

  function drawBar() {
    bar.draw(selection.size, open.length)
  }

  /**
   * Selects by click: one card, with Shift a range, with Ctrl one more.
   *
   * @param {Card} card
   * @param {MouseEvent} event
   * @param {{ toggling?: boolean }} [options]
   */
  function pick(card, event, { toggling = event.ctrlKey || event.metaKey } = {}) {
    const start = grid.current
    grid.focus(card, { scroll: false })
    if (event.shiftKey) selection.extendTo(card, start, { adding: event.ctrlKey || event.metaKey })
    else if (toggling) selection.toggle(card)
    else selection.only(card)
  }

  grid.element.addEventListener('mousedown', (event) => {
    if (event.shiftKey) event.preventDefault() // else the browser selects text and moves the focus
  })
  grid.element.addEventListener('click', (event) => {
    const card = grid.cardOf(closest(event, '.card'))
    if (card && !closest(event, 'button')) pick(card, event)
  })

  /** @param {() => number} distance */
  const move = (distance) => () => {
    selection.clear()
    grid.focus(grid.neighbor(distance()))
  }
  /** @param {() => number} distance */
  const extend = (distance) => () => {
    const start = grid.current
    const card = grid.neighbor(distance())
    if (!card) return
    grid.focus(card)
    selection.extendTo(card, start)
  }
  const moveOn = move(() => 1)

  /**
   * Decides the selection, or the focused card and moves on to the next.
   *
   * @param {LabelOf} labelOf
   */
  const decide = (labelOf) => () => {
    if (selection.size > 1) {
      decideMany(selection.cards(), labelOf)
      return
    }
    const card = grid.current
    if (!card || card.hidden) return
    // A decision is about the card that has the focus: the first key only focuses one.
    if (!card.focused) {
      grid.focus(card)
      return
    }
    moveOn()
    decisions.save(card, { label: labelOf(card) })
  }

  /**
   * @param {Card[]} list
   * @param {LabelOf} labelOf
   */
  async function decideMany(list, labelOf) {
    const last = list.at(-1)
    if (!last) return
    selection.clear()
    grid.setCurrent(last)
    grid.focus(grid.neighbor(1))
    const saved = await decisions.saveAll(list, labelOf)
    if (!saved && selection.size === 0) selection.choose(list.filter((card) => !card.hidden))
  }

  async function agreeWithRest() {
    await decisions.saveAll(open, modelLabel)
    if (document.activeElement === document.body) grid.focus(grid.current, { scroll: false })
  }

  async function undoLast() {
    const card = await decisions.undoLast()
    if (card && !card.hidden) grid.focus(card)
  }

  function openForm() {
    const card = grid.current
    const reasons = status.value?.reasons
    if (!card?.classified || !reasons) return
    openDecisionDialog(card.image, {
      reasons,
      label: otherLabel(card),
      onSave: (values) => decisions.save(card, values),
      onClose: () => grid.focus(card),
    })
  }

  async function askForSecondOpinion() {
    const card = grid.current
    if (!card?.classified || !card.focused) return
    moveOn()
    try {
      await requestSecondOpinion(card.image)
      say(`${card.image.name} is in the queue for a second opinion.`)
    } catch (error) {
      say(messageOf(error))
    }
  }

  const row = () => grid.columns()
  /** @type {[string, () => number][]} */
  const arrows = [
    ['ArrowRight', () => 1],
    ['ArrowLeft', () => -1],
    ['ArrowDown', row],
    ['ArrowUp', () => -row()],
  ]
  useKeys(root, {
    keys: {
      ...Object.fromEntries(arrows.map(([key, distance]) => [key, move(distance)])),
      ...Object.fromEntries(arrows.map(([key, distance]) => [`Shift+${key}`, extend(distance)])),
      a: decide(modelLabel),
      x: decide(otherLabel),
      1: decide(always('normal')),
      2: decide(always('nsfw')),
      ' ': moveOn,
      Escape: () => selection.clear(),
      undo: undoLast,
      f: askForSecondOpinion,
      n: openForm,
    },
    hold: () => {
      const held = grid.current?.preview
      held?.reveal()
      return () => held?.conceal()
    },
  })
  watch('value', () => {
    const threshold = parseThreshold(props.value)
    if (threshold === null) return
    policy = policyAt(status.value?.policy ?? policy, threshold)
    applyPolicy()
  })
  /** @type {string | null} */
  let applied = null
  status.subscribe((now) => {
    const version = `${now.policy.version} ${now.state}`
    if (version !== applied) policy = policyAt(now.policy, now.policy.threshold)
    applied = version
    applyPolicy()
  })
  fillDropZone(input, {
    label: 'Drop images, paste them, or choose files',
    hint: 'Many at once; each is classified as it arrives',
    multiple: true,
    onFiles: add,
  })
  applyPolicy()
}
