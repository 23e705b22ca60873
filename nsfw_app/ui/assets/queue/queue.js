// The Queue tab: leased images, one after the other. The next ones are claimed in advance, and a
// decision is sent while the next image is already on screen.

/** @import { NewDecision, QueuedImage } from '../shared/server.js' */

import { isVisible, make, regionOf } from '../shared/dom.js'
import { useKeys } from '../shared/keys.js'
import { makeRecentDecisions } from '../shared/recentDecisions.js'
import { makeReviewPanel } from '../shared/reviewPanel.js'
import {
  claim,
  messageOf,
  release,
  renew,
  requestSecondOpinion,
  skip,
  status,
  Unreachable,
  unsavedDecisions,
} from '../shared/server.js'

const MAX_LEASES = 10 // the image on screen included
const REFILL_AT = 7 // leases, or fewer
const RENEW_MS = 120_000 // a lease lasts ten minutes: LEASE_DURATION in nsfw_app/store/leases.py
const POLL_MS = 10_000 // while the queue is empty

/**
 * Builds the tab; `root` is the last of its regions. The component's value is the threshold.
 *
 * @param {HTMLElement} root
 * @param {{ props: { value: unknown }, watch: (name: string, listener: () => void) => void }} component
 */
export async function mount(root, { props, watch }) {
  const [bar, stage, verdict] = await Promise.all(
    ['queue-bar', 'queue-preview', 'queue-verdict'].map(regionOf),
  )
  /** @type {QueuedImage[]} Leased; the first is on screen. */
  let items = []
  /** @type {Set<number>} Entries with a request in flight; not to be claimed again. */
  const leaving = new Set()
  let waiting = 0
  let claiming = false
  let ready = false
  let open = false

  const count = make('span', { class: 'waiting', role: 'status' })
  const order = make(
    'select',
    { 'aria-label': 'Order', onchange: startOver },
    make('option', { value: 'priority' }, 'By priority, nearest to the threshold'),
    make('option', { value: 'oldest' }, 'Oldest first'),
  )
  /** @param {string} word @param {string} key @param {() => void} onclick */
  const button = (word, key, onclick) =>
    make('button', { type: 'button', class: 'quiet', onclick }, word, make('kbd', {}, key))
  bar.replaceChildren(
    count,
    make('label', { class: 'order' }, make('span', {}, 'Order'), order),
    button('Skip', 'Space', skipCurrent),
    button('Second opinion', 'F', askForSecondOpinion),
    button('Undo', 'Backspace', undoLast),
  )

  const recent = makeRecentDecisions({
    tab: 'queue',
    onUndone: ({ entry_id }) => bringBack(entry_id),
  })
  /** @type {ReturnType<typeof makeReviewPanel<QueuedImage>>} */
  const panel = makeReviewPanel({
    parts: { stage, verdict, decision: root },
    extra: [recent.element],
    onDecision: save,
  })

  /**
   * @param {QueuedImage} image
   * @param {NewDecision} decision
   */
  async function save(image, decision) {
    if (!items.includes(image)) return
    if (leaving.has(image.entry_id)) {
      panel.say('Decided already, but not saved yet. Go on with the arrow keys.')
      return
    }
    // In an outage the desk stays on the image: the reviewer goes on by arrow key, or waits.
    const { stalled } = unsavedDecisions
    leaving.add(image.entry_id)
    if (stalled) panel.say(`Not saved yet: ${image.name}. The server does not respond.`)
    else advance(image)
    const recorded = await recent.send(image, decision)
    if (stalled && items.includes(image)) advance(image)
    if (recorded) leaving.delete(image.entry_id)
    panel.say(
      recorded
        ? `Saved: ${image.name} is ${recorded.reviewer_label}.`
        : 'Not saved; see the list below.',
    )
    fill()
  }

  /** @param {QueuedImage} image */
  function advance(image) {
    leaving.add(image.entry_id)
    items = items.filter((item) => item.entry_id !== image.entry_id)
    waiting = Math.max(0, waiting - 1)
    draw()
    fill()
  }

  async function skipCurrent() {
    const [image] = items
    if (!image) return
    advance(image)
    const success = `Skipped: ${image.name} comes back after the others.`
    await report(image, skip(image.entry_id), success)
  }

  async function askForSecondOpinion() {
    const [image] = items
    if (!image) return
    advance(image)
    const success = `${image.name} is in the queue for a second opinion.`
    await report(image, requestSecondOpinion(image), success)
  }

  /**
   * @param {QueuedImage} image
   * @param {Promise<unknown>} request
   * @param {string} success
   */
  async function report(image, request, success) {
    try {
      await request
      panel.say(success)
    } catch (error) {
      panel.say(messageOf(error))
    }
    leaving.delete(image.entry_id)
    fill()
  }

  async function undoLast() {
    panel.say(await recent.undoLast())
  }

  /** @param {number | undefined} entry */
  async function bringBack(entry) {
    const wanted = { count: 1, holding: holding(), order: order.value, first: entry }
    const claimed = await claim(wanted)
    waiting = claimed.waiting
    items = [...claimed.items, ...items]
    draw()
  }

  const entries = () => items.map((item) => item.entry_id)
  const holding = () => [...entries(), ...leaving]

  async function fill() {
    if (!ready || !open || claiming || items.length > REFILL_AT) return
    claiming = true
    const wanted = { count: MAX_LEASES - items.length, holding: holding(), order: order.value }
    try {
      const claimed = await claim(wanted)
      waiting = claimed.waiting
      if (open) items.push(...claimed.items)
      else release(claimed.items.map((item) => item.entry_id))
      draw()
    } catch (error) {
      // The top bar shows an outage; what was said about the decision stays.
      if (!(error instanceof Unreachable)) panel.say(messageOf(error))
    } finally {
      claiming = false
    }
  }

  /** @type {QueuedImage | null} */
  let drawn = null
  function draw() {
    const [image] = items
    count.textContent = waiting === 1 ? '1 image waiting' : `${waiting} images waiting`
    if (image && image === drawn) return
    drawn = image ?? null
    panel.show(drawn)
    if (image) return
    stage.replaceChildren(
      make(
        'div',
        { class: 'empty' },
        make('p', {}, 'The queue is empty.'),
        make(
          'p',
          {},
          'Images enter the queue when their score is in the review band, when a reviewer requests ' +
            'a second opinion, and when a disagreement needs a second decision.',
        ),
      ),
    )
  }

  async function startOver() {
    const held = entries()
    items = []
    draw()
    await release(held)
    fill()
  }

  async function enter() {
    if (open) return
    open = true
    await fill()
  }

  function leave() {
    if (!open) return
    open = false
    const held = entries()
    items = []
    draw()
    if (held.length) release(held)
  }

  async function renewLeases() {
    if (!open || document.hidden || !items.length) return
    const renewed = new Set((await renew(entries())).entries)
    const kept = items.filter((item) => renewed.has(item.entry_id))
    if (kept.length === items.length) return
    items = kept
    panel.say('Your lease on this image expired.')
    draw()
    fill()
  }

  /**
   * Shows another leased image without deciding.
   *
   * @param {number} by
   */
  const turn = (by) => () => {
    if (items.length < 2) return
    items = by > 0 ? [...items.slice(1), items[0]] : [...items.slice(-1), ...items.slice(0, -1)]
    draw()
  }

  new IntersectionObserver(() => (isVisible(root) ? enter() : leave())).observe(root)
  window.addEventListener('pagehide', leave)
  document.addEventListener('visibilitychange', renewLeases) // some may have expired while it was hidden
  setInterval(renewLeases, RENEW_MS)
  setInterval(() => !items.length && fill(), POLL_MS)
  status.subscribe((now) => {
    ready = now.state === 'ready'
    fill()
  })
  watch('value', () => panel.setThreshold(props.value))
  useKeys(root, {
    keys: {
      ...panel.keys,
      ' ': skipCurrent,
      f: askForSecondOpinion,
      undo: undoLast,
      ArrowRight: turn(1),
      ArrowLeft: turn(-1),
    },
    hold: panel.hold,
  })
  draw()
}
