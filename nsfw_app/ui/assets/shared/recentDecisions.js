// The reviewer's latest decisions in all tabs, as the server stores them, and above them those that
// are not saved. Each is changed or reopened with one click.

/** @import { Undo } from './history.js' */
/** @import { MessageLine } from './messageLine.js' */
/** @import { Label } from './policy.js' */
/** @import { Decision, Image, NewDecision } from './server.js' */

import { categoryWords } from './categories.js'
import { make } from './dom.js'
import { fileName } from './fileName.js'
import { makeHistory } from './history.js'
import { may } from './permissions.js'
import { LABELS } from './policy.js'
import { decide, messageOf, recentImages, recorded, status, undo, undone } from './server.js'
import { signal } from './signal.js'
import { makeUnsavedList, stalledMessage } from './unsavedList.js'

const MAX_SHOWN = 10

/** @typedef {Image & { decision: Decision }} Decided */

/** The images decided last, newest first. */
export const recent = signal(/** @type {Decided[]} */ ([]))

/** Decisions that were undone since the page was opened. @type {Set<number>} */
const undoneIds = new Set()

/** @param {Image} image @returns {image is Decided} */
const isDecided = (image) => Boolean(image.decision)

/** @param {Decided[]} images Of which only the newest decision about each image is kept. */
function show(images) {
  const newest = [...images].sort((a, b) => b.decision.decision_id - a.decision.decision_id)
  /** @type {Map<string | undefined, Decided>} */
  const byImage = new Map()
  for (const image of newest) if (!byImage.has(image.sha256)) byImage.set(image.sha256, image)
  recent.value = [...byImage.values()].slice(0, MAX_SHOWN)
}

async function load() {
  const before = recent.value[0]?.decision.decision_id ?? 0
  const stored = (await recentImages(MAX_SHOWN)).filter(isDecided)
  // What was recorded since the request was sent is not in its response.
  show([...recent.value.filter(({ decision }) => decision.decision_id > before), ...stored])
}

/** @type {string | null} */
let reviewer = null
status.subscribe((now) => {
  if (now.reviewer === reviewer) return
  reviewer = now.reviewer
  recent.value = []
  if (may('review')) load().catch(() => null) // without it the list starts empty
})
recorded.subscribe((images) => {
  const kept = images.filter(isDecided).map(({ file, ...image }) => image) // its bytes are released
  show([...kept, ...recent.value])
})
undone.subscribe((ids) => {
  for (const id of ids) undoneIds.add(id)
  recent.value = recent.value.filter(({ decision }) => !ids.includes(decision.decision_id))
  load().catch(() => null) // an earlier decision may be in force again
})

/**
 * Creates a list of them for one tab.
 *
 * @param {object} [options]
 * @param {'review' | 'queue'} [options.tab]
 * @param {ReturnType<typeof makeHistory<string>>} [options.history]
 * @param {(image: Image, kept: boolean) => void} [options.onUndone] Called with an image without a
 *   decision, and whether it has a preview still.
 * @param {(image: Decided) => void} [options.onOpen] Called with an image to show again.
 * @param {(image: Image, decision: NewDecision, error: unknown) => void} [options.onRefused] Called
 *   with a decision that the server refused.
 * @param {(message: string) => void} [options.onStalled] Called when no decision is accepted.
 */
export function makeRecentDecisions({
  tab,
  history = makeHistory(),
  onUndone = () => {},
  onOpen,
  onRefused = () => {},
  onStalled = () => {},
} = {}) {
  const list = makeList(line)
  const unsaved = makeUnsavedList()
  const element = make(
    'section',
    { class: 'recent-decisions', 'aria-label': 'Recent decisions' },
    make('h2', {}, 'Recent decisions'),
    unsaved.element,
    list,
  )
  recent.subscribe(draw)
  unsaved.subscribe(draw)

  function draw() {
    element.hidden = !list.childElementCount && unsaved.element.hidden
  }

  /**
   * Sends a decision. Resolves to what was recorded, or to null when the server refused it; the list
   * then says why.
   *
   * @param {Image} image
   * @param {NewDecision} decision
   */
  function send(image, decision) {
    const sent = decide(image, { tab, ...decision }).catch((error) => {
      onRefused(image, decision, error)
      return null
    })
    history.add(sent.then((decided) => decided && undoOf(image, decided)))
    return sent
  }

  /**
   * @param {Image} image
   * @param {Decision} decided
   * @returns {() => Promise<string | null>}
   */
  function undoOf(image, decided) {
    return async () => {
      if (undoneIds.has(decided.decision_id)) return null
      const { standing, kept } = await undo(decided.decision_id)
      image.decision = standing
      if (!standing) onUndone(image, kept)
      const left =
        tab === 'queue' && !standing && !kept
          ? ` ${image.name} left the queue, because its preview was deleted.`
          : ''
      return `Undone. The decision stays in the log, marked as undone.${left}`
    }
  }

  /**
   * Undoes the last decision and says so.
   *
   * @param {MessageLine} line
   */
  async function undoLast(line) {
    const action = line.begin()
    try {
      action.done((await history.undoLast(action)) ?? 'Nothing to undo.')
    } catch (error) {
      line.say(`Not undone. ${messageOf(error)}`)
    }
  }

  /**
   * Undoes the decision about an image. Resolves to a status message.
   *
   * @param {Decided} image
   */
  async function undoDecision(image) {
    return (await undoOf(image, image.decision)()) ?? 'It is undone already.'
  }

  /** @param {Decided} image */
  function line(image) {
    const { name, decision } = image
    /** @param {Label} label */
    const change = (label) =>
      make(
        'button',
        {
          type: 'button',
          class: 'quick',
          'aria-pressed': String(decision.reviewer_label === label),
          'aria-label': `${label}: ${name}`,
          onclick: () => {
            if (label === decision.reviewer_label) return
            const problem = stalledMessage()
            if (problem) onStalled(problem)
            else send(image, changed(decision, label))
          },
        },
        label,
      )
    return make(
      'li',
      {},
      nameOf(image, onOpen),
      make('span', { class: 'recent-labels' }, ...LABELS.map(change)),
      decision.categories?.length
        ? make('span', { class: 'decision-categories' }, categoryWords(decision.categories))
        : null,
    )
  }

  return { element, send, undoLast, undoDecision }
}

/**
 * A list of them in which each opens its image again.
 *
 * @param {(image: Decided) => void} onOpen
 */
export const makeRecentList = (onOpen) => makeList((image) => make('li', {}, nameOf(image, onOpen)))

/** @param {(image: Decided) => HTMLElement} line */
function makeList(line) {
  const list = make('ol', { class: 'recent-list' })
  recent.subscribe((images) => list.replaceChildren(...images.map(line)))
  return list
}

/**
 * The blurred thumbnail and the name, which open the image.
 *
 * @param {Decided} image
 * @param {((image: Decided) => void) | undefined} onOpen
 */
function nameOf(image, onOpen) {
  const { name, placeholder } = image
  const thumbnail = make(
    'span',
    { class: 'preview' },
    placeholder
      ? make('img', { class: 'placeholder', src: placeholder, alt: '', draggable: 'false' })
      : null,
  )
  const title = make('span', { class: 'recent-name' }, fileName(name))
  if (!onOpen) return make('span', { class: 'recent-open' }, thumbnail, title)
  const onclick = () => onOpen(image)
  return make(
    'button',
    { type: 'button', class: 'recent-open', onclick, 'aria-label': `Open ${name}` },
    thumbnail,
    title,
  )
}

/**
 * The same decision with another label; normal images have no categories.
 *
 * @param {Decision} decision
 * @param {Label} label
 * @returns {NewDecision}
 */
const changed = ({ threshold, reasons, note, categories, seen = false }, label) => ({
  label,
  threshold,
  reasons,
  note,
  categories: label === 'normal' ? null : categories,
  seen,
})
