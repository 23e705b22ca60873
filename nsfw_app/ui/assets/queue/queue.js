// The Queue tab: leased images, one after the other. The next ones are claimed in advance, and a
// decision is sent while the next image is already on screen.

/** @import { Action } from '../shared/messageLine.js' */
/** @import { Label } from '../shared/policy.js' */
/** @import { Decided } from '../shared/recentDecisions.js' */
/** @import { Decision, Image, NewDecision, QueuedImage } from '../shared/server.js' */

import { makeAlarmNotice } from '../insights/alarmNotice.js'
import { make, regionOf, watchVisibility } from '../shared/dom.js'
import { makeHistory } from '../shared/history.js'
import { focusStage, useKeys } from '../shared/keys.js'
import { makeRecentDecisions } from '../shared/recentDecisions.js'
import { isCorrectable, makeReviewPanel } from '../shared/reviewPanel.js'
import {
  claim,
  messageOf,
  queueSummary,
  release,
  renew,
  requestSecondOpinion,
  skip,
  status,
  Unreachable,
  unsavedDecisions,
  unskip,
  withdrawSecondOpinion,
} from '../shared/server.js'
import { makeLeaseList } from './leaseList.js'
import { makeQueueHeader } from './queueHeader.js'

const MAX_LEASES = 10 // the image on screen included
const REFILL_AT = 7 // leases, or fewer
const RENEW_MS = 120_000 // a lease lasts ten minutes: LEASE_DURATION in nsfw_app/store/leases.py
const POLL_MS = 10_000
const FORM_OPEN = 'Save the form or cancel it first.'

/**
 * Builds the tab; `root` is the last of its regions.
 *
 * @param {HTMLElement} root
 */
export async function mount(root) {
  const [bar, stage, verdict] = await Promise.all(
    ['queue-bar', 'queue-stage', 'queue-verdict'].map(regionOf),
  )
  /** @type {QueuedImage[]} Leased; the first is on screen. */
  let items = []
  /** @type {Map<number, Action>} Entries with a request in flight; not to be claimed again. */
  const leaving = new Map()
  let claiming = false
  let ready = false
  let open = false
  /** A decided image that is on screen again, before those that are leased. @type {Image | null} */
  let reopened = null

  /** @type {ReturnType<typeof makeHistory<string>>} */
  const history = makeHistory()
  const header = makeQueueHeader({
    onFilter: startOver,
    onSkip: skipCurrent,
    onSecondOpinion: askForSecondOpinion,
    onUndo: undoLast,
  })
  const alarm = makeAlarmNotice()
  bar.replaceChildren(alarm.element, header.element, makeLeaseList())
  alarm.watch(bar)
  const recent = makeRecentDecisions({
    tab: 'queue',
    history,
    onUndone: (image, kept) => {
      header.pace.undo()
      reopened = kept && image.entry_id === undefined ? image : null
      draw()
      if (kept && !reopened) bringBack(image.entry_id)
    },
    onRefused: showRefused,
    onStalled: (message) => panel.say(message),
    onOpen: reopen,
  })
  /** @type {ReturnType<typeof makeReviewPanel<Image>>} */
  const panel = makeReviewPanel({
    tab: 'queue',
    parts: { stage, verdict, decision: root },
    extra: [recent.element],
    onDecision: save,
  })

  /** @param {Decided} image */
  function reopen(image) {
    if (panel.formOpen) {
      panel.say(FORM_OPEN)
      return
    }
    const back = make('button', { type: 'button', class: 'link', onclick: goOn }, 'Go on')
    reopened = panel.reopen(image, recent.undoDecision, back)
    drawn = reopened
    header.setImage(true)
    focusStage()
  }

  /** Shows the leased images again; nothing is recorded. */
  function goOn() {
    if (panel.formOpen) panel.say(FORM_OPEN)
    else closeReopened()
  }

  function closeReopened() {
    reopened = null
    panel.say('')
    draw()
  }

  /** The image on screen, where it can be left now. */
  function leavable() {
    if (!panel.formOpen) return items[0]
    panel.say(FORM_OPEN)
    return undefined
  }

  /**
   * @param {Image} image
   * @param {NewDecision} decision
   */
  async function save(image, decision) {
    if (image === reopened) {
      closeReopened()
      const action = panel.begin()
      const changed = await recent.send(image, decision)
      if (changed) action.done(describeSaved(image, changed))
    } else await saveQueued(/** @type {QueuedImage} */ (image), decision)
  }

  /**
   * @param {QueuedImage} image
   * @param {NewDecision} decision
   */
  async function saveQueued(image, decision) {
    if (!items.includes(image)) return
    const inFlight = leaving.get(image.entry_id)
    if (inFlight) {
      inFlight.pending('Decided already, but not saved yet. Go on with the arrow keys.')
      return
    }
    // In an outage the desk stays on the image: the reviewer goes on by arrow key, or waits.
    const { stalled } = unsavedDecisions
    const action = panel.begin()
    leaving.set(image.entry_id, action)
    if (stalled) action.pending(`Not saved yet: ${image.name}. The server does not respond.`)
    else advance(image)
    const recorded = await recent.send(image, decision)
    if (recorded) {
      if (stalled && items.includes(image)) advance(image)
      leaving.delete(image.entry_id)
      header.pace.add(performance.now())
      header.draw()
      action.done(describeSaved(image, recorded))
    }
    fill()
  }

  /**
   * Shows an image again whose decision the server refused, and says how it can be decided.
   *
   * @param {Image} image
   * @param {NewDecision} decision
   * @param {unknown} error
   */
  function showRefused(image, decision, error) {
    if (isCorrectable(error)) {
      if (image.decision || image.entry_id === undefined) {
        reopened = image
        draw()
      } else putFirst(/** @type {QueuedImage} */ (image))
    }
    panel.explainRefusal(image, decision, error)
  }

  /** @param {QueuedImage} image */
  function advance(image) {
    items = items.filter((item) => item.entry_id !== image.entry_id)
    header.setWaiting(header.waiting - 1)
    draw()
    fill()
  }

  function skipCurrent() {
    if (reopened) {
      goOn()
      return
    }
    const image = leavable()
    if (!image) return
    leave(image, skip(image.entry_id), {
      done: `Skipped: ${image.name} comes back after the others.`,
      async undo() {
        await unskip(image.entry_id)
        putFirst(image)
        return `The skip is undone: ${image.name}.`
      },
    })
  }

  function askForSecondOpinion() {
    if (reopened) {
      panel.say('You have decided this image. Go on to the queue first, with Space.')
      return
    }
    const image = leavable()
    if (!image) return
    leave(image, requestSecondOpinion(image), {
      done: `${image.name} is in the queue for a second opinion.`,
      async undo() {
        await withdrawSecondOpinion(image)
        await bringBack(image.entry_id)
        return `The request for a second opinion is withdrawn: ${image.name}.`
      },
    })
  }

  /**
   * Moves on; an image that could not be left is shown again later.
   *
   * @param {QueuedImage} image
   * @param {Promise<unknown>} request
   * @param {{ done: string, undo: () => Promise<string> }} action
   */
  function leave(image, request, { done, undo }) {
    const action = panel.begin()
    leaving.set(image.entry_id, action)
    advance(image)
    const left = request.then(
      () => {
        action.done(done)
        return undo
      },
      (error) => {
        panel.say(messageOf(error))
        items.push(image)
        return null
      },
    )
    history.add(left)
    left.then(() => {
      leaving.delete(image.entry_id)
      draw()
      fill()
    })
  }

  async function undoLast() {
    if (panel.formOpen) panel.say(FORM_OPEN)
    else await recent.undoLast(panel)
  }

  /** @param {QueuedImage} image */
  function putFirst(image) {
    leaving.delete(image.entry_id)
    items = [image, ...items.filter((item) => item.entry_id !== image.entry_id)]
    header.setWaiting(header.waiting + 1)
    draw()
  }

  /** @param {number | undefined} entry */
  async function bringBack(entry) {
    /** @type {QueuedImage[]} */
    let found = items.filter((item) => item.entry_id === entry) // claimed again during the request
    if (!found.length) {
      const wanted = { count: 1, holding: holding(), order: header.order, first: entry }
      const claimed = await claim(wanted)
      header.setWaiting(claimed.waiting)
      found = claimed.items
    }
    items = [...found, ...items.filter((item) => !found.includes(item))]
    draw()
  }

  const entries = () => items.map((item) => item.entry_id)
  const holding = () => [...entries(), ...leaving.keys()]

  async function fill() {
    if (!ready || !open || claiming || items.length > REFILL_AT) return
    claiming = true
    const { order, reason } = header
    const wanted = { count: MAX_LEASES - items.length, holding: holding(), order, reason }
    try {
      const claimed = await claim(wanted)
      header.setWaiting(claimed.waiting)
      const wantedStill = open && order === header.order && reason === header.reason
      if (wantedStill) items.push(...claimed.items)
      else release(claimed.items.map((item) => item.entry_id))
      draw()
    } catch (error) {
      // The top bar shows an outage; what was said about the decision stays.
      if (!(error instanceof Unreachable)) panel.say(messageOf(error))
    } finally {
      claiming = false
    }
  }

  /** @type {Image | null} */
  let drawn = null
  function draw() {
    const image = reopened ?? items[0] ?? null
    header.setImage(Boolean(image))
    if (image && image === drawn) return
    drawn = image
    panel.show(image)
    if (!image) drawEmpty()
  }

  function drawEmpty() {
    const why = header.reason
      ? 'No image waits for this reason. Choose another above.'
      : 'Images enter the queue when their score is in the review band, when a reviewer requests ' +
        'a second opinion, and when a disagreement needs a second decision.'
    stage.replaceChildren(
      make('div', { class: 'empty' }, make('p', {}, 'The queue is empty.'), make('p', {}, why)),
    )
  }

  async function startOver() {
    const held = entries()
    items = []
    reopened = null
    draw()
    await release(held)
    fill()
  }

  async function enter() {
    if (open) return
    open = true
    fill()
    summarize()
  }

  function leaveTab() {
    if (!open) return
    open = false
    const held = entries()
    items = []
    reopened = null
    draw()
    if (held.length) release(held)
  }

  async function summarize() {
    if (!ready || !open || document.hidden) return
    try {
      header.setSummary(await queueSummary())
    } catch {
      // The counts stay as they are; the connection state says that the server does not answer.
    }
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
    if (reopened) {
      goOn()
      return
    }
    if (items.length < 2) return
    items = by > 0 ? [...items.slice(1), items[0]] : [...items.slice(-1), ...items.slice(0, -1)]
    draw()
  }

  watchVisibility(root, (visible) => (visible ? enter() : leaveTab()))
  window.addEventListener('pagehide', leaveTab)
  document.addEventListener('visibilitychange', renewLeases) // some may have expired while it was hidden
  setInterval(renewLeases, RENEW_MS)
  setInterval(() => {
    if (!items.length) fill()
    summarize()
  }, POLL_MS)
  status.subscribe((now) => {
    ready = now.state === 'ready'
    fill()
    summarize()
  })
  useKeys(root, {
    keys: {
      ...panel.keys,
      ' ': skipCurrent,
      f: askForSecondOpinion,
      undo: undoLast,
      ArrowRight: turn(1),
      ArrowLeft: turn(-1),
    },
    reveal: panel.reveal,
    stage: panel.stage,
  })
  draw()
}

/**
 * What was recorded, with the score where it was hidden before.
 *
 * @param {Image} image
 * @param {Decision} recorded
 */
function describeSaved({ name, nsfw_score: before }, recorded) {
  const { reviewer_label: label, model_label: model, nsfw_score: score } = recorded
  const revealed = before == null ? ` The model calls it ${model}, score ${score.toFixed(3)}.` : ''
  return `Saved: ${name} is ${label}.${revealed}`
}
