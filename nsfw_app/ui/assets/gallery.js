// The Gallery tab: many files, scored as they arrive, judged in the browser, answered by key or click.

import { answerForm, opposite } from './answer.js'
import { judgeCard, makeCard, markAnswer, markSaving } from './card.js'
import { make, present } from './dom.js'
import { dropZone } from './files.js'
import { toggleHelp, useKeys } from './keys.js'
import { endHold, reveal, toggleBlur } from './picture.js'
import { addImage, decide, onStatus, undo } from './server.js'
import { ACTION_WORDS, ACTIONS, onThreshold, policyAt } from './verdict.js'

const AT_ONCE = 2 // requests; one is judged while the next is sent

const ORDERS = {
  score: ['Highest score', (a, b) => (b.nsfw_score ?? 2) - (a.nsfw_score ?? 2)],
  name: ['Name', (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true })],
  nearest: ['Nearest to the threshold', null],
}

/** Builds the tab; `root` is the grid's element. */
export async function mount(root) {
  const [input, tools] = await Promise.all(['gallery-upload', 'gallery-tools'].map(present))
  let status = null
  let policy = { threshold: 0.5, review_from: 0.2, review_to: 0.8 }
  let filter = 'all'
  let order = 'score'
  let current = null
  let run = null
  const cards = new Map()
  const answers = []

  const summary = make('p', { class: 'summary', role: 'status' })
  const message = make('p', { class: 'message', role: 'status' })
  const grid = make('div', { class: 'cards', role: 'list', 'aria-label': 'Images' })
  const empty = make(
    'p',
    { class: 'empty' },
    'Add files above. Cards appear here as the model scores them, all blurred.',
  )
  root.replaceChildren(summary, message, empty, grid)

  const progress = make('progress', {
    'aria-label': 'Files scored',
    hidden: true,
    max: 1,
    value: 0,
  })
  const progressText = make('span', { class: 'progress-text', role: 'status' })
  const stop = make(
    'button',
    { id: 'stop', type: 'button', disabled: true, onclick: stopRun },
    'Stop',
  )
  const chips = Object.fromEntries(
    ['all', ...ACTIONS].map((name) => [
      name,
      make('button', { type: 'button', class: 'chip', onclick: () => setFilter(name) }),
    ]),
  )
  const sort = make('select', { 'aria-label': 'Order', onchange: () => setOrder(sort.value) })
  for (const [value, [word]] of Object.entries(ORDERS)) sort.append(make('option', { value }, word))
  const blur = make(
    'button',
    { type: 'button', class: 'quiet', 'aria-pressed': 'true', onclick: toggleBlur },
    'Blur',
    make('kbd', {}, 'B'),
  )
  document.addEventListener('blur', (event) =>
    blur.setAttribute('aria-pressed', String(event.detail)),
  )
  tools.replaceChildren(
    make(
      'div',
      { class: 'chips', role: 'group', 'aria-label': 'Filter by action' },
      ...Object.values(chips),
    ),
    make('label', { class: 'order' }, make('span', {}, 'Order'), sort),
    blur,
    make(
      'button',
      { type: 'button', class: 'quiet', onclick: toggleHelp },
      'Keys',
      make('kbd', {}, '?'),
    ),
    stop,
    progress,
    progressText,
  )

  async function add(files) {
    const taken = files.slice(0, status.max_files)
    const left = files.length - taken.length
    message.textContent = left
      ? `The first ${taken.length} of ${files.length} files were added; ${left} were left out. The limit is ${status.max_files}.`
      : ''
    if (run) {
      run.files.push(...taken)
      run.total += taken.length
      drawProgress()
      return
    }
    run = { files: taken, total: taken.length, done: 0, batch: crypto.randomUUID(), stopped: false }
    const mine = run
    drawProgress()
    await Promise.all(Array.from({ length: AT_ONCE }, () => work(mine)))
    run = null
    drawProgress(mine)
  }

  async function work(mine) {
    while (mine.files.length && !mine.stopped) {
      const image = await addImage(mine.files.shift(), 'gallery', mine.batch)
      mine.done += 1
      image.batchId = mine.batch
      place(image)
      drawProgress()
    }
  }

  function stopRun() {
    if (run) run.stopped = true
  }

  function drawProgress(ended = null) {
    const shown = ended ?? run
    stop.disabled = !run
    progress.hidden = !run
    progress.max = shown.total
    progress.value = shown.done
    const share = `${shown.done} of ${shown.total}`
    progressText.textContent = run
      ? `Scoring ${share}`
      : `${shown.stopped ? 'Stopped' : 'Done'}: ${share}`
  }

  function place(image) {
    const key = image.error ? `${image.sha256 ?? ''} ${image.name}` : image.sha256
    const earlier = cards.get(key)
    if (earlier) return
    const card = makeCard(image, {
      onAgree: () => agree(card),
      onDisagree: () => disagree(card),
      onFocus: () => focus(card),
    })
    cards.set(key, card)
    judgeCard(card, policy)
    arrange()
    current ??= card
    if (current === card) card.tabIndex = 0
    count()
  }

  function compare() {
    if (order !== 'nearest') return ORDERS[order][1]
    const distance = (image) =>
      image.nsfw_score == null ? -1 : Math.abs(image.nsfw_score - policy.threshold)
    return (a, b) => distance(a) - distance(b)
  }

  function arrange() {
    const by = compare()
    let next = grid.firstElementChild
    for (const card of [...cards.values()].sort((a, b) => by(a.image, b.image))) {
      if (card === next) next = next.nextElementSibling
      else {
        const focused = card.contains(document.activeElement) ? document.activeElement : null
        grid.insertBefore(card, next)
        focused?.focus({ preventScroll: true })
      }
    }
  }

  function judgeAll() {
    for (const card of cards.values()) judgeCard(card, policy)
    if (order === 'nearest') arrange()
    count()
  }

  function count() {
    const counts = Object.fromEntries(ACTIONS.map((action) => [action, 0]))
    let answered = 0
    let disagreements = 0
    for (const card of cards.values()) {
      const { action, decision } = card.dataset
      counts[action] += 1
      if (decision) answered += 1
      if (decision === 'disagree') disagreements += 1
      const visible = filter === 'all' || filter === action
      if (card.hidden === visible) card.hidden = !visible
    }
    const all = cards.size
    for (const [name, chip] of Object.entries(chips)) {
      const word = name === 'all' ? 'All' : ACTION_WORDS[name]
      chip.textContent = `${word} ${name === 'all' ? all : counts[name]}`
      chip.setAttribute('aria-pressed', String(filter === name))
    }
    empty.hidden = all > 0
    summary.hidden = all === 0
    const parts = ACTIONS.filter((action) => counts[action]).map(
      (action) => `${counts[action]} ${action}`,
    )
    summary.textContent =
      `${all} ${all === 1 ? 'image' : 'images'} at threshold ${policy.threshold.toFixed(2)}: ${parts.join(', ')}. ` +
      `${answered} answered, ${disagreements} ${disagreements === 1 ? 'disagreement' : 'disagreements'}.`
  }

  function setFilter(name) {
    filter = name
    count()
    if (current?.hidden) focus(visible()[0], { scroll: false })
  }

  function setOrder(name) {
    order = name
    arrange()
  }

  const visible = () => [...grid.children].filter((card) => !card.hidden)

  function focus(card, { scroll = true } = {}) {
    if (!card) return
    if (current && current !== card) {
      endHold(current.picture)
      current.tabIndex = -1
    }
    current = card
    card.tabIndex = 0
    if (!card.contains(document.activeElement)) card.focus({ preventScroll: true })
    if (scroll) card.scrollIntoView({ block: 'nearest' })
  }

  function step(by) {
    const list = visible()
    const at = list.indexOf(current)
    focus(list[Math.max(0, Math.min(list.length - 1, at === -1 ? 0 : at + by))])
  }

  function stepRow(by) {
    const list = visible()
    if (!list.length) return
    const columns = list.filter((card) => card.offsetTop === list[0].offsetTop).length
    step(by * columns)
  }

  async function save(card, { label, reasons = [], note = '' }) {
    const { image } = card
    if (image.error) return
    const { threshold } = policy
    markSaving(card, label)
    try {
      const decision = await decide(image, {
        label,
        threshold,
        reasons,
        note,
        batchId: image.batchId,
      })
      answers.push({ card, id: decision.decision_id })
      markAnswer(card, decision)
      message.textContent = `Saved: ${image.name} is ${label}.`
    } catch (error) {
      markAnswer(card, image.decision)
      message.textContent = `Not saved: ${image.name}. ${error.message}`
    }
    count()
  }

  const agree = (card) => card && !card.image.error && save(card, { label: card.dataset.label })
  const disagree = (card) =>
    card && !card.image.error && save(card, { label: opposite(card.dataset.label) })

  function answerThenMove(answer) {
    return () => {
      const card = current
      if (!card || card.hidden) return
      step(1)
      answer(card)
    }
  }

  async function undoLast() {
    const last = answers.pop()
    if (!last) {
      message.textContent = 'Nothing to undo.'
      return
    }
    try {
      markAnswer(last.card, await undo(last.id))
      message.textContent = `Undone: the answer about ${last.card.image.name}. It stays in the log, marked as undone.`
      focus(last.card)
    } catch (error) {
      answers.push(last)
      message.textContent = `Not undone. ${error.message}`
    }
    count()
  }

  function openForm() {
    const card = current
    if (!card || card.image.error) return
    const given = card.image.decision ?? { reviewer_label: opposite(card.dataset.label) }
    const dialog = make('dialog', {
      class: 'answer-dialog',
      'aria-label': `Answer about ${card.image.name}`,
    })
    const close = () => dialog.close()
    const { form, focusNote } = answerForm(
      status.reasons,
      { label: given.reviewer_label, reasons: given.reasons, note: given.note },
      {
        onCancel: close,
        onSave: (answer) => {
          close()
          save(card, answer)
        },
      },
    )
    dialog.append(make('h2', {}, card.image.name), form)
    dialog.addEventListener('close', () => {
      dialog.remove()
      focus(card)
    })
    document.body.append(dialog)
    dialog.showModal()
    focusNote()
  }

  const labelled = (label) => (card) => save(card, { label })
  useKeys(root, {
    a: answerThenMove(agree),
    x: answerThenMove(disagree),
    1: answerThenMove(labelled('normal')),
    2: answerThenMove(labelled('nsfw')),
    ' ': () => step(1),
    ArrowRight: () => step(1),
    ArrowLeft: () => step(-1),
    ArrowDown: () => stepRow(1),
    ArrowUp: () => stepRow(-1),
    undo: undoLast,
    n: openForm,
    hold: () => {
      const held = current?.picture
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
  count()
}
