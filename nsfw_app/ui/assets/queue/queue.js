// The Queue tab: images on loan, one after the other. The next ones are at hand before they are
// needed, and an answer is sent while the next image is already on the screen.

import { make, present, shown } from '../shared/dom.js'
import { useKeys } from '../shared/keys.js'
import { makeStrip } from '../shared/recentDecisions.js'
import { makeWorkplace } from '../shared/reviewPanel.js'
import { claim, onStatus, release, renew, secondOpinion, skip } from '../shared/server.js'

const AT_HAND = 10 // images on loan, the one on the screen included
const FEW = 7 // at hand, so that it is time for more
const RENEW_MS = 120_000 // a loan lasts ten minutes
const LOOK_AGAIN_MS = 10_000 // while nothing waits

/** Builds the tab around its parts; `root` is the last of them. */
export async function mount(root) {
  const [bar, stage, verdict] = await Promise.all(
    ['queue-bar', 'queue-picture', 'queue-verdict'].map(present),
  )
  let items = []
  const leaving = new Set() // entries whose answer or skip is on its way; not to be lent again
  let waiting = 0
  let claiming = null
  let ready = false
  let open = false

  const count = make('span', { class: 'waiting', role: 'status' })
  const order = make(
    'select',
    { 'aria-label': 'Order', onchange: startOver },
    make('option', { value: 'priority' }, 'By priority, nearest to the threshold'),
    make('option', { value: 'oldest' }, 'Oldest first'),
  )
  const button = (word, key, act) => {
    const made = make('button', { type: 'button', class: 'quiet', onclick: act })
    made.append(word, make('kbd', {}, key))
    return made
  }
  bar.replaceChildren(
    count,
    make('label', { class: 'order' }, make('span', {}, 'Order'), order),
    button('Skip', 'Space', skipThis),
    button('Second opinion', 'F', askOthers),
    button('Undo', 'Backspace', undoLast),
  )

  const strip = makeStrip({ onUndone: (entry) => bringBack(entry.image) })
  const place = makeWorkplace({
    parts: { stage, verdict, answer: root },
    name: 'queue',
    extra: [strip.element],
    onAnswer: answer,
  })

  async function answer(image, given) {
    if (!items.includes(image)) return
    advance(image)
    const decision = await strip.send(image, given)
    if (decision) leaving.delete(image.entry_id)
    place.say(
      decision
        ? `Saved: ${image.name} is ${decision.reviewer_label}.`
        : 'Not saved; see the list below.',
    )
    fill()
  }

  function advance(image) {
    leaving.add(image.entry_id)
    items = items.filter((item) => item.entry_id !== image.entry_id)
    waiting = Math.max(0, waiting - 1)
    draw()
    fill()
  }

  async function skipThis() {
    const [image] = items
    if (!image) return
    advance(image)
    await tell(image, skip(image.entry_id), `Skipped: ${image.name} comes back after the others.`)
  }

  async function askOthers() {
    const [image] = items
    if (!image) return
    advance(image)
    await tell(image, secondOpinion(image), `${image.name} waits for a second opinion.`)
  }

  async function tell(image, promise, success) {
    try {
      await promise
      place.say(success)
    } catch (error) {
      place.say(error.message)
    }
    leaving.delete(image.entry_id)
    fill()
  }

  async function undoLast() {
    place.say(await strip.undoLast())
  }

  async function bringBack(image) {
    const got = await claim({
      count: 1,
      holding: holding(),
      order: order.value,
      first: image.entry_id,
    })
    waiting = got.waiting
    items = [...got.items, ...items]
    draw()
  }

  const ids = () => items.map((item) => item.entry_id)
  const holding = () => [...ids(), ...leaving]

  async function fill() {
    if (!ready || !open || claiming || items.length > FEW) return
    claiming = claim({ count: AT_HAND - items.length, holding: holding(), order: order.value })
    try {
      const got = await claiming
      waiting = got.waiting
      if (open) items.push(...got.items)
      else release(got.items.map((item) => item.entry_id))
      draw()
    } catch (error) {
      place.say(error.message)
    } finally {
      claiming = null
    }
  }

  let drawn = null
  function draw() {
    const [image] = items
    count.textContent = waiting === 1 ? '1 image waits' : `${waiting} images wait`
    if (image && image === drawn) return
    drawn = image ?? null
    place.show(drawn)
    if (!image) {
      stage.replaceChildren(
        make(
          'div',
          { class: 'empty' },
          make('p', {}, 'Nothing waits for you.'),
          make(
            'p',
            {},
            'Images enter when they are added in Review or Gallery and fall into the review band, ' +
              'when somebody asks for a second opinion, and when an answer against the model stands alone.',
          ),
        ),
      )
    }
  }

  async function startOver() {
    const held = ids()
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
    const held = ids()
    items = []
    draw()
    if (held.length) release(held)
  }

  async function keep() {
    if (!open || document.hidden || !items.length) return
    const kept = new Set((await renew(ids())).entries)
    const lost = items.filter((item) => !kept.has(item.entry_id))
    if (!lost.length) return
    items = items.filter((item) => kept.has(item.entry_id))
    place.say('An image was on loan for too long and went back to the queue.')
    draw()
    fill()
  }

  new IntersectionObserver(() => (shown(root) ? enter() : leave())).observe(root)
  window.addEventListener('pagehide', leave)
  document.addEventListener('visibilitychange', keep) // loans may have run out meanwhile
  setInterval(keep, RENEW_MS)
  setInterval(() => !items.length && fill(), LOOK_AGAIN_MS)
  onStatus((status) => {
    ready = status.state === 'ready'
    fill()
  })
  /** Shows another of the images at hand, without deciding about this one. */
  const turn = (by) => () => {
    if (items.length < 2) return
    if (by > 0) items.push(items.shift())
    else items.unshift(items.pop())
    draw()
  }

  useKeys(root, {
    ...place.keys,
    ' ': skipThis,
    f: askOthers,
    undo: undoLast,
    ArrowRight: turn(1),
    ArrowLeft: turn(-1),
  })
  draw()
}
