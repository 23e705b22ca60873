// The Gallery tab: many files, scored as they arrive, judged in the browser, answered by key or click.

import { opposite } from '../shared/decisionForm.js'
import { make, present } from '../shared/dom.js'
import { dropZone } from '../shared/dropZone.js'
import { useKeys } from '../shared/keys.js'
import { endHold, reveal } from '../shared/preview.js'
import { onStatus, secondOpinion } from '../shared/server.js'
import { onThreshold, policyAt } from '../shared/verdict.js'
import { makeAnswers } from './batchDecisions.js'
import { addFile, judgeCard, makeCard } from './card.js'
import { answerDialog } from './decisionDialog.js'
import { makeGroups } from './duplicates.js'
import { makeFilters } from './filters.js'
import { makeGrid } from './grid.js'
import { makeSelection, selectionBar } from './selection.js'
import { fillToolbar } from './toolbar.js'
import { makeUploads } from './uploads.js'

const asModel = (card) => card.dataset.label
const againstModel = (card) => opposite(card.dataset.label)
const always = (label) => () => label

/** Builds the tab; `root` is the grid's element. */
export async function mount(root) {
  const [input, tools] = await Promise.all(['gallery-upload', 'gallery-tools'].map(present))
  const cards = new Map()
  const groupOf = makeGroups()
  let status = null
  let policy = { threshold: 0.5, review_from: 0.2, review_to: 0.8 }
  let waiting = [] // cards on screen without an answer

  const summary = make('p', { class: 'summary', role: 'status' })
  const message = make('p', { class: 'message', role: 'status' })
  const empty = make('p', { class: 'empty' })
  const say = (text) => {
    message.textContent = text
  }
  const filters = makeFilters({ onChange: () => grid.survey() })
  const grid = makeGrid({ filters, onSurvey: drawSurvey })
  const selection = makeSelection({ visible: grid.shown, onChange: drawBar })
  const bar = selectionBar({
    onAgree: () => answerMany(selection.cards(), asModel),
    onLabel: (label) => answerMany(selection.cards(), always(label)),
    onClear: () => selection.clear(),
    onRest: agreeWithRest,
  })
  const answers = makeAnswers({
    threshold: () => policy.threshold,
    say,
    onChange: () => grid.survey(),
  })
  const uploads = makeUploads({ onImage: place })
  root.replaceChildren(summary, message, empty, grid.element, bar.element)
  fillToolbar(tools, { filters, grid, uploads })

  function add(files) {
    const taken = files.slice(0, status.max_files)
    const left = files.length - taken.length
    say(
      left
        ? `The first ${taken.length} of ${files.length} files were added; ${left} were left out. The limit is ${status.max_files}.`
        : '',
    )
    uploads.add(taken)
  }

  function place(image) {
    const key = image.error ? `${image.sha256 ?? ''} ${image.name}` : image.sha256
    const earlier = cards.get(key)
    if (earlier) {
      addFile(earlier, image)
      grid.survey()
      return
    }
    const card = makeCard(image, {
      onAgree: () => answers.save(card, { label: asModel(card) }),
      onDisagree: () => answers.save(card, { label: againstModel(card) }),
      onFocus: () => grid.setCurrent(card),
      onPick: (event) => pick(card, event, { toggling: true }),
      onGroup: () => {
        card.group.expanded = !card.group.expanded
        grid.survey()
      },
    })
    card.group = groupOf(image.perceptual_hash)
    cards.set(key, card)
    judgeCard(card, policy)
    grid.add(card)
  }

  function judgeAll() {
    for (const card of cards.values()) judgeCard(card, policy)
    grid.setPolicy(policy)
    grid.survey()
  }

  function drawSurvey(found) {
    const { total, shown } = found
    selection.keepVisible()
    waiting = shown.filter(
      ({ image, dataset, classList }) =>
        !image.error && !dataset.decision && !classList.contains('saving'),
    )
    summary.hidden = total === 0
    if (summary.textContent !== found.summary) summary.textContent = found.summary
    empty.hidden = shown.length > 0
    empty.textContent = total
      ? 'No image matches the filters. Change or clear them above.'
      : 'Add files above. Cards appear here as the model scores them, all blurred.'
    bar.element.hidden = total === 0
    drawBar()
  }

  function drawBar() {
    bar.draw(selection.size, waiting.length)
  }

  /** A click with its modifiers: one card, a range, one more. */
  function pick(card, event, { toggling = event.ctrlKey || event.metaKey } = {}) {
    const start = grid.current
    grid.focus(card, { scroll: false })
    if (event.shiftKey) selection.extendTo(card, start, { adding: event.ctrlKey || event.metaKey })
    else if (toggling) selection.toggle(card)
    else selection.only(card)
  }

  grid.element.addEventListener('mousedown', (event) => {
    if (event.shiftKey) event.preventDefault() // else the browser selects text, and moves the focus
  })
  grid.element.addEventListener('click', (event) => {
    const card = event.target.closest('.card')
    if (card && !event.target.closest('button')) pick(card, event)
  })

  const move = (distance) => () => {
    selection.clear()
    grid.focus(grid.neighbour(distance()))
  }
  const extend = (distance) => () => {
    const start = grid.current
    const card = grid.neighbour(distance())
    if (!card) return
    grid.focus(card)
    selection.extendTo(card, start)
  }

  /** Answers the selection, or the card with the focus and goes on to the next. */
  const answer = (labelOf) => () => {
    if (selection.size > 1) return answerMany(selection.cards(), labelOf)
    const card = grid.current
    if (!card || card.hidden) return null
    // An answer is about the card that is marked; the first key only marks one.
    if (!card.contains(document.activeElement)) return grid.focus(card)
    move(() => 1)()
    return answers.save(card, { label: labelOf(card) })
  }

  async function answerMany(list, labelOf) {
    if (!list.length) return
    selection.clear()
    grid.setCurrent(list.at(-1))
    grid.focus(grid.neighbour(1))
    const saved = await answers.saveAll(list, labelOf)
    if (!saved && selection.size === 0) selection.choose(list.filter((card) => !card.hidden))
  }

  async function agreeWithRest() {
    await answers.saveAll(waiting, asModel)
    if (document.activeElement === document.body) grid.focus(grid.current, { scroll: false })
  }

  async function undoLast() {
    const card = await answers.undoLast()
    if (card && !card.hidden) grid.focus(card)
  }

  function openForm() {
    const card = grid.current
    if (!card || card.image.error) return
    answerDialog(card, {
      reasons: status.reasons,
      label: againstModel(card),
      onSave: (filled) => answers.save(card, filled),
      onClose: () => grid.focus(card),
    })
  }

  async function askOthers() {
    const card = grid.current
    if (!card || card.image.error || !card.contains(document.activeElement)) return
    move(() => 1)()
    try {
      await secondOpinion(card.image)
      say(`${card.image.name} waits in the queue for a second opinion.`)
    } catch (error) {
      say(error.message)
    }
  }

  const row = () => grid.columns()
  const ways = {
    ArrowRight: () => 1,
    ArrowLeft: () => -1,
    ArrowDown: row,
    ArrowUp: () => -row(),
  }
  const moves = Object.entries(ways).flatMap(([key, distance]) => [
    [key, move(distance)],
    [`Shift+${key}`, extend(distance)],
  ])
  useKeys(root, {
    ...Object.fromEntries(moves),
    a: answer(asModel),
    x: answer(againstModel),
    1: answer(always('normal')),
    2: answer(always('nsfw')),
    ' ': move(() => 1),
    Escape: () => selection.clear(),
    undo: undoLast,
    f: askOthers,
    n: openForm,
    hold: () => {
      const held = grid.current?.picture
      reveal(held)
      return () => endHold(held)
    },
  })
  onThreshold('gallery', (threshold) => {
    policy = policyAt(status?.policy ?? policy, threshold)
    judgeAll()
  })
  onStatus((now) => {
    const same =
      status && status.policy.version === now.policy.version && status.state === now.state
    status = now
    if (!same) policy = policyAt(now.policy, now.policy.threshold)
    judgeAll()
  })
  dropZone(input, {
    label: 'Drop images, paste them, or choose files',
    hint: 'Many at once; each is judged as it arrives',
    multiple: true,
    onFiles: add,
  })
  judgeAll()
}
