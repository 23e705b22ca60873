import assert from 'node:assert/strict'
import { test } from 'node:test'
import { makeExplanationRequest } from '../../nsfw_app/ui/assets/shared/explanationRequest.js'

const IMAGE = { name: 'a.jpg', sha256: 'a' }
const OTHER = { name: 'b.jpg', sha256: 'b' }
const MAP = { sentence: 'Covering the marked area lowers the score from 0.84 to 0.31.' }
const running = (progress) => ({ status: 'running', id: '7', progress })
const done = { status: 'done', id: '7', progress: 1, explanation: MAP }

/** A request whose answers the test gives in order: each is a value, an error, or a promise. */
function make(...answers) {
  const states = []
  const asked = []
  const answer = (kind) => async (image) => {
    asked.push([kind, image.name ?? image])
    const next = await answers.shift()
    if (next instanceof Error) throw next
    return next
  }
  const request = makeExplanationRequest({
    start: answer('start'),
    poll: answer('poll'),
    cancel: (id) => asked.push(['cancel', id]),
    wait: async () => {},
    show: ({ image, ...state }) => states.push(state),
  })
  return { ...request, states, asked }
}

/** A promise, and the function that resolves it. */
function later() {
  let resolve
  const promise = new Promise((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}

test('an explanation is polled with its progress until it is done', async () => {
  const { toggle, states, asked } = make(running(0), running(0.4), done)
  await toggle(IMAGE)
  assert.deepEqual(states, [
    { phase: 'running', progress: 0 },
    { phase: 'running', progress: 0 },
    { phase: 'running', progress: 0.4 },
    { phase: 'done', explanation: MAP },
  ])
  assert.deepEqual(asked, [
    ['start', 'a.jpg'],
    ['poll', '7'],
    ['poll', '7'],
  ])
})

test('a stored explanation is shown without polling, and the second press removes it', async () => {
  const { toggle, states, asked } = make(done)
  await toggle(IMAGE)
  await toggle(IMAGE)
  assert.deepEqual(states.at(-1), { phase: 'none' })
  assert.equal(asked.length, 1)
})

test('closing while it is computed cancels it on the server', async () => {
  const poll = later()
  const { toggle, close, states, asked } = make(running(0.2), poll.promise)
  const opened = toggle(IMAGE)
  await new Promise(setImmediate)
  close(IMAGE)
  assert.deepEqual(states.at(-1), { phase: 'none' })
  assert.deepEqual(asked.at(-1), ['cancel', '7'], 'at once')
  poll.resolve(running(0.3))
  await opened
  close()
  assert.equal(asked.filter(([kind]) => kind === 'cancel').length, 1, 'another may wait for it')
  assert.deepEqual(states.at(-1), { phase: 'none' })
})

test('closing before the first answer cancels what it started', async () => {
  const start = later()
  const { toggle, close, asked } = make(start.promise)
  const opened = toggle(IMAGE)
  close()
  start.resolve(running(0))
  await opened
  assert.deepEqual(asked, [
    ['start', 'a.jpg'],
    ['cancel', '7'],
  ])
})

test('an answer about an image that has left the screen is dropped', async () => {
  const late = later()
  const { toggle, states, asked } = make(late.promise, done)
  const first = toggle(IMAGE)
  await toggle(OTHER)
  late.resolve({ ...done, explanation: { sentence: 'Late.' } })
  await first
  assert.deepEqual(states.at(-1), { phase: 'done', explanation: MAP })
  assert.equal(asked.filter(([kind]) => kind === 'cancel').length, 0)
})

test('an error that arrives after closing is dropped', async () => {
  const late = later()
  const { toggle, close, states } = make(late.promise)
  const opened = toggle(IMAGE)
  close()
  late.resolve(new Error('Late.'))
  await opened
  assert.deepEqual(states.at(-1), { phase: 'none' })
})

test('closing another image changes nothing', async () => {
  const { toggle, close, states } = make(done)
  await toggle(IMAGE)
  close(OTHER)
  assert.equal(states.at(-1).phase, 'done')
})

test('a failure is a sentence, and the next press tries again', async () => {
  const { toggle, states } = make(new Error('The server cannot be reached.'), done)
  await toggle(IMAGE)
  assert.deepEqual(states.at(-1), { phase: 'failed', message: 'The server cannot be reached.' })
  await toggle(IMAGE)
  assert.equal(states.at(-1).phase, 'done')
})

test('what the server failed at or cancelled is said', async () => {
  const failed = { status: 'failed', error: { kind: 'no_pixels', message: 'No preview is kept.' } }
  const { toggle, states } = make(running(0), failed, { status: 'cancelled' })
  await toggle(IMAGE)
  assert.deepEqual(states.at(-1), { phase: 'failed', message: 'No preview is kept.' })
  await toggle(IMAGE)
  assert.deepEqual(states.at(-1), { phase: 'failed', message: 'The computation was cancelled.' })
})
