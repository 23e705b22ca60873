// The Gallery tab: many files, classified as they arrive, decided by key or click.

/** @import { FormValues } from '../shared/decisionForm.js' */
/** @import { LeftOut } from '../shared/droppedFiles.js' */
/** @import { Label, ModelLabel } from '../shared/policy.js' */
/** @import { Decided } from '../shared/recentDecisions.js' */
/** @import { Image } from '../shared/server.js' */
/** @import { GridState } from './grid.js' */

import { makeCardKeys } from '../shared/cardKeys.js'
import { drawCategories } from '../shared/categoryBars.js'
import { askFirst } from '../shared/confirmation.js'
import { make, regionOf } from '../shared/dom.js'
import { fillDropZone } from '../shared/dropZone.js'
import { makeExplanationBox } from '../shared/explanationBox.js'
import { useKeys } from '../shared/keys.js'
import { followInLoupe, isLoupeOpen, toggleLoupe } from '../shared/loupe.js'
import { makeMessageLine } from '../shared/messageLine.js'
import { INITIAL_POLICY, opposite, parseThreshold, policyAt } from '../shared/policy.js'
import { displayed } from '../shared/preview.js'
import { status } from '../shared/server.js'
import { makeThresholdLine } from '../shared/thresholdLine.js'
import { agreementOf } from './agreement.js'
import { makeBatchDecisions } from './batchDecisions.js'
import { makeBatches } from './batches.js'
import { Card } from './card.js'
import { makeCardSize } from './cardSize.js'
import { openDecisionDialog } from './decisionDialog.js'
import { makeGroups } from './duplicates.js'
import { makeFilters } from './filters.js'
import { makeFolderButton } from './folderButton.js'
import { makeGrid } from './grid.js'
import { makeLeftOutList } from './leftOut.js'
import { agreeWords, makeSelection, makeSelectionBar } from './selection.js'
import { openStrip } from './strip.js'
import { fillToolbar } from './toolbar.js'
import { makeUnsentCards } from './unsentCards.js'
import { makeUploads } from './uploads.js'

const ASK_ABOVE = 20 // images that one press agrees with, without a question

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
 * @param {{ props: { value: number | null }, watch: (name: string, listener: () => void) => void }} component
 */
export async function mount(root, { props, watch }) {
  const [input, tools] = await Promise.all(['gallery-upload', 'gallery-tools'].map(regionOf))
  /** @type {Map<string, Card>} */
  const cards = new Map()
  const groupOf = makeGroups()
  let policy = INITIAL_POLICY
  /** @type {number | null} */
  let policyVersion = null
  /** @type {Card[]} Cards that the last button of the bar agrees with. */
  let open = []

  const summary = make('p', { class: 'summary', role: 'status' })
  const message = make('p', { class: 'message', role: 'status' })
  const empty = make('p', { class: 'empty' })
  const messageLine = makeMessageLine((...words) => {
    message.replaceChildren(...words)
    drawLoupe()
  })
  const { say } = messageLine
  const filters = makeFilters({ onChange: () => grid.refresh() })
  const grid = makeGrid({ filters, onRefresh: draw, onCurrent: drawLoupe })
  const selection = makeSelection({ visible: grid.shown, onChange: drawBar })
  const bar = makeSelectionBar({
    onAgree: () => decideMany(selection.cards(), modelLabel),
    onLabel: (label) => decideMany(selection.cards(), always(label)),
    onReasons: () => openForm(selection.cards()),
    onClear: () => selection.clear(),
    onAgreeWithRest: agreeWithRest,
  })
  const decisions = makeBatchDecisions({
    onScreen: () => ({ threshold: policy.threshold, policyVersion }),
    line: messageLine,
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
  const batches = makeBatches({
    onImages: (images) => images.forEach(place),
    onDecided: showDecided,
    say,
  })
  uploads.parts.push(batches.button)
  const leftOutList = makeLeftOutList()
  const size = makeCardSize((next) => {
    grid.rows.setSize(next)
    grid.current?.element.scrollIntoView({ block: 'nearest' })
  })
  const state = make('div', { class: 'upload-state' }, summary, ...uploads.recovery)
  const statusLine = make('div', { class: 'status-line' }, state, message)
  const footer = make(
    'div',
    { class: 'gallery-footer' },
    leftOutList.element,
    makeExplanationBox().element,
    statusLine,
    bar.element,
  )
  root.replaceChildren(empty, grid.element, footer)
  const thresholdLine = makeThresholdLine('gallery')
  fillToolbar(tools, { filters, grid, uploads, size: size.element, folder: makeFolderButton(add) })

  /**
   * @param {File[]} files
   * @param {LeftOut[]} [leftOut] Files of the same folder or drop that are not images.
   */
  function add(files, leftOut = []) {
    const limit = status.value?.max_files ?? files.length
    const accepted = files.slice(0, limit)
    const over = files
      .slice(limit)
      .map(({ name }) => ({ name, why: `over the limit of ${limit} files at a time` }))
    const omitted = over.length + leftOut.length
    leftOutList.add([...over, ...leftOut])
    say(
      omitted
        ? `${accepted.length} of ${files.length + leftOut.length} files were added; ${omitted} ${omitted === 1 ? 'was' : 'were'} left out.`
        : '',
    )
    if (accepted.length) uploads.add(accepted)
  }

  /** @param {Image} image */
  function place(image) {
    const key = image.error ? `${image.sha256 ?? ''} ${image.name}` : (image.sha256 ?? '')
    const earlier = cards.get(key)
    if (earlier) {
      earlier.addFile(image)
      earlier.applyPolicy(policy)
      grid.offerCategories(earlier)
      grid.refresh()
      return earlier
    }
    const card = new Card(image, groupOf(image.perceptual_hash), {
      onAgree: (card) => decideByClick(card, modelLabel),
      onDisagree: (card) => decideByClick(card, otherLabel),
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
    return card
  }

  /** @param {Decided} image Whose card gets the focus; it is added where there is none. */
  function showDecided(image) {
    const card = cards.get(image.sha256 ?? '') ?? place({ ...image })
    card.setDecision(image.decision)
    grid.refresh()
    if (card.hidden) say(`${image.name} does not pass the filters.`)
    else grid.focus(card)
  }

  function applyPolicy() {
    for (const card of cards.values()) card.applyPolicy(policy)
    grid.setPolicy(policy)
    grid.refresh()
  }

  /** @param {GridState} state */
  function draw({ total, summary: words, shown }) {
    selection.keepVisible()
    tools.closest('#gallery-toolbar')?.classList.toggle('filled', total > 0)
    footer.classList.toggle('filled', total > 0)
    summary.hidden = total === 0
    if (summary.textContent !== words) summary.textContent = words
    empty.hidden = shown.length > 0
    empty.textContent = total
      ? 'No image matches the filters. Change or clear them above.'
      : 'Add files above. Cards appear here as they are classified, all blurred.'
    bar.element.hidden = total === 0
    drawRest()
    drawLoupe()
  }

  /**
   * Whether the last button of the bar agrees with a card: one without a decision, and a seen one
   * where only those may be decided.
   *
   * @param {Card} card
   */
  function mayBeAgreedWith(card) {
    const seen = card.seen || !status.value?.require_seen?.includes('gallery')
    return card.classified && !card.decision && !card.saving && seen
  }

  const rest = () => ({ count: open.length, unseen: open.filter((card) => !card.seen).length })

  function drawRest() {
    open = grid.shown().flatMap(grid.represented).filter(mayBeAgreedWith)
    drawBar()
  }

  function drawBar() {
    bar.draw(selection.size, rest())
  }

  function drawLoupe() {
    if (!isLoupeOpen()) return
    const card = grid.current
    if (card && !card.hidden) followInLoupe(card.image, card.preview, shownInLoupe(card))
    else followInLoupe(null, null)
  }

  /** @param {Card} card */
  const shownInLoupe = (card) => ({
    text: [card.describe(), message.textContent].filter(Boolean).join(' '),
    categories: drawCategories(card.image, policy),
  })

  function openLoupe() {
    const card = grid.current
    if (!card || card.hidden) return
    toggleLoupe(card.image, card.preview, {
      ...shownInLoupe(card),
      onClose: () => grid.focus(grid.current),
    })
  }

  grid.element.addEventListener('keydown', (event) => {
    const letter = /^[a-z]$/i.test(event.key) ? event.key.toLowerCase() : event.code.slice(-1)
    if (!(event.ctrlKey || event.metaKey) || event.altKey || letter.toLowerCase() !== 'a') return
    event.preventDefault()
    selection.choose(grid.shown())
  })
  const cardKeys = makeCardKeys({
    grid,
    selection,
    row: () => grid.rows.columns,
    page: grid.page,
    count: () => grid.shown().length,
    onSkip: (card) => decisions.skip(card),
    say,
  })
  const { cardInFocus, moveOn, pick } = cardKeys

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
    const card = cardInFocus()
    if (!card || !decisions.isAllowed()) return
    if (grid.represented(card).length > 1) decideMany([card], labelOf)
    else if (needsReason([card], labelOf)) openDialog([card], labelOf(card))
    else {
      moveOn()
      decisions.save(card, { label: labelOf(card) })
    }
  }

  /**
   * Decides the card of the button that was clicked; the focus goes to the card, so that no key
   * presses the button again.
   *
   * @param {Card} card
   * @param {LabelOf} labelOf
   */
  function decideByClick(card, labelOf) {
    card.element.focus({ preventScroll: true })
    if (!decisions.isAllowed()) return
    if (grid.represented(card).length > 1) decideMany([card], labelOf)
    else if (needsReason([card], labelOf)) openDialog([card], labelOf(card))
    else decisions.save(card, { label: labelOf(card) })
  }

  /**
   * Decides several cards, and all near duplicates that they represent after a look at those.
   *
   * @param {Card[]} list
   * @param {LabelOf} labelOf
   */
  function decideMany(list, labelOf) {
    if (!list.length || !decisions.isAllowed()) return
    const labels = new Set(list.map(labelOf))
    if (needsReason(list, labelOf)) {
      if (labels.size === 1) openDialog(list, labelOf(list[0]))
      else say('A disagreement needs a reason: decide images with one label at a time.')
      return
    }
    withDuplicates(list, labelOf, (all) => saveMany(all, (card) => ({ label: labelOf(card) })))
  }

  /**
   * Passes on the cards with the near duplicates that they represent, after a look at those.
   *
   * @param {Card[]} list
   * @param {(card: Card) => Label | null} labelOf Null where a form asks for the label next.
   * @param {(all: Card[]) => void} then
   * @param {(card: Card) => Card[]} [membersOf]
   */
  function withDuplicates(list, labelOf, then, membersOf = grid.represented) {
    const all = list.flatMap(membersOf)
    const duplicates = list.filter((card) => grid.represented(card).length > 1).flatMap(membersOf)
    if (!duplicates.length) {
      then(all)
      return
    }
    openStrip(duplicates, {
      total: all.length,
      labelOf,
      onConfirm: () => then(all),
      onClose: focusCurrent,
    })
  }

  const focusCurrent = () => grid.focus(grid.current, { scroll: false })

  /**
   * @param {Card[]} list
   * @param {LabelOf} labelOf
   */
  function needsReason(list, labelOf) {
    if (!status.value?.require_reason) return false
    return list.some((card) => agreementOf(labelOf(card), card.label) === 'disagree')
  }

  /**
   * @param {Card[]} list
   * @param {(card: Card) => FormValues | { label: Label }} valuesOf
   */
  async function saveMany(list, valuesOf) {
    selection.clear()
    grid.setCurrent(list[list.length - 1])
    grid.focus(grid.neighbor(1))
    const unsaved = await decisions.saveAll(list, valuesOf)
    if (selection.size === 0) selection.choose(unsaved.filter((card) => !card.hidden))
  }

  function agreeWithRest() {
    if (!decisions.isAllowed()) return
    const { count, unseen } = rest()
    const undecided = (/** @type {Card} */ card) => grid.represented(card).filter(mayBeAgreedWith)
    const save = () => withDuplicates(grid.shown(), modelLabel, saveRest, undecided)
    if (count <= ASK_ABOVE) {
      save()
      return
    }
    const seen = unseen ? `You have not seen ${unseen} of them.` : 'You have seen all of them.'
    askFirst({
      title: `Agree with ${count} images?`,
      text: `${seen} The model's label is saved as your decision about each.`,
      confirm: agreeWords({ count, unseen }),
      onConfirm: save,
      onClose: focusCurrent,
    })
  }

  /** @param {Card[]} list */
  function saveRest(list) {
    focusCurrent()
    decisions.saveAll(list, (card) => ({ label: modelLabel(card) }))
  }

  async function undoLast() {
    const card = await decisions.undoLast()
    if (card && !card.hidden) grid.focus(card)
  }

  /** Opens the form for the selection, or for the focused card. */
  function addReasons() {
    if (selection.size > 1) {
      openForm(selection.cards())
      return
    }
    const card = cardInFocus()
    if (card) openForm([card])
  }

  /**
   * Opens the form. It proposes the label that the model did not give, and none where cards differ.
   *
   * @param {Card[]} list
   */
  function openForm(list) {
    const classified = list.filter((card) => card.classified)
    if (!classified.length) return
    const labels = new Set(classified.map(otherLabel))
    openDialog(classified, labels.size === 1 ? otherLabel(classified[0]) : null)
  }

  /**
   * Opens the form for one card or several; its values are saved for each.
   *
   * @param {Card[]} list
   * @param {Label | null} label Proposed.
   */
  function openDialog(list, label) {
    const reasons = status.value?.reasons
    if (!reasons || !decisions.isAllowed()) return
    withDuplicates(
      list,
      () => null,
      (all) =>
        openDecisionDialog(all, {
          reasons,
          label,
          onSave: (values) =>
            all.length > 1 ? saveMany(all, () => values) : decisions.save(all[0], values),
          onClose: focusCurrent,
        }),
    )
  }

  function askForSecondOpinion() {
    const card = cardInFocus()
    if (!card?.classified) return
    moveOn()
    decisions.escalate(card)
  }

  useKeys(root, {
    keys: {
      ...cardKeys.keys,
      a: decide(modelLabel),
      x: decide(otherLabel),
      1: decide(always('normal')),
      2: decide(always('nsfw')),
      3: decide(always('unsure')),
      '+': () => size.step(1),
      '=': () => size.step(1),
      '-': () => size.step(-1),
      Enter: openLoupe,
      undo: undoLast,
      f: askForSecondOpinion,
      n: addReasons,
    },
    reveal: cardKeys.reveal,
    stage: cardKeys.stage,
  })
  watch('value', () => {
    thresholdLine.draw(props.value)
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
    policyVersion = now.policy.version
    applied = version
    applyPolicy()
  })
  fillDropZone(input, {
    label: 'Drop images, paste them, or choose files',
    hint: 'Many at once; each is classified as it arrives',
    short: 'Add files',
    multiple: true,
    onFiles: add,
  })
  displayed.subscribe((sha256) => {
    cards.get(sha256)?.drawSeen()
    drawRest()
    drawLoupe()
  })
  applyPolicy()
}
