import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import { RequestError, Unreachable } from '../../nsfw_app/ui/assets/shared/requests.js'
import { countOf, makeUnsavedDecisions } from '../../nsfw_app/ui/assets/shared/unsavedDecisions.js'

/** A server that records, and can be down or refuse. */
let server
/** What the browser stores, by reviewer. */
let stored
/** Retries that are due. */
let due

beforeEach(() => {
  stored = {}
  due = []
  server = {
    rows: [],
    failure: null,
    async post({ answers, reviewer }) {
      if (server.failure) throw server.failure
      for (const { nonce, name } of answers)
        if (!server.rows.some((row) => row.nonce === nonce))
          server.rows.push({ nonce, name, reviewer })
      return { recorded: answers.length }
    },
  }
})

/** A page of a reviewer, opened now. */
function open(reviewer = 'ada') {
  const unsaved = makeUnsavedDecisions({
    post: (item) => server.post(item),
    read: (name) => JSON.parse(stored[name] ?? 'null'),
    write: (name, items) => {
      stored[name] = JSON.stringify(items)
    },
    later: (_ms, then) => {
      due.push(then)
      return () => {
        due = due.filter((other) => other !== then)
      }
    },
  })
  unsaved.setReviewer(reviewer)
  return unsaved
}

let serial = 0
const answer = (name, sha256 = name) => ({ nonce: `n${++serial}`, name, image_sha256: sha256 })
const settled = () => new Promise((resolve) => setTimeout(resolve))
const names = () => server.rows.map(({ name }) => name)
function runDue() {
  for (const then of due.splice(0)) then()
}
const down = new Unreachable('down')

test('decisions are recorded in the order in which they were made', async () => {
  const unsaved = open()
  await Promise.all(['a', 'b', 'c'].map((name) => unsaved.submit('decisions', [answer(name)])))
  assert.deepEqual(names(), ['a', 'b', 'c'])
  assert.deepEqual(unsaved.items.value, [])
  assert.equal(stored.ada, '[]')
})

test('after an outage what waited is sent first, by itself', async () => {
  const unsaved = open()
  server.failure = down
  const sent = ['a', 'b'].map((name) => unsaved.submit('decisions', [answer(name)]))
  await settled()
  assert.equal(countOf(unsaved.items.value), 2)
  assert.equal(unsaved.items.value[0].message, 'down')
  server.failure = null
  sent.push(unsaved.submit('decisions', [answer('c')]))
  runDue()
  await Promise.all(sent)
  assert.deepEqual(names(), ['a', 'b', 'c'])
})

test('a response that was lost does not record twice', async () => {
  const unsaved = open()
  const { post } = server
  server.post = async (item) => {
    await post(item)
    server.post = post
    throw down
  }
  const sent = unsaved.submit('decisions', [answer('a')])
  await settled()
  runDue()
  await sent
  assert.deepEqual(names(), ['a'])
})

test('a reload keeps them, without pixels', async () => {
  server.failure = down
  open().submit('decisions', [answer('a')])
  await settled()
  server.failure = null
  const reloaded = open()
  await settled()
  assert.deepEqual(names(), ['a'])
  assert.deepEqual(reloaded.items.value, [])
})

test('another reviewer in the same browser neither sees nor sends them', async () => {
  const unsaved = open('ada')
  server.failure = down
  const sent = unsaved.submit('decisions', [answer('a')])
  await settled()
  server.failure = null
  unsaved.setReviewer('grace')
  await assert.rejects(sent, /until ada signs in/)
  assert.deepEqual(unsaved.items.value, [])
  await unsaved.submit('decisions', [answer('b')])
  unsaved.setReviewer('ada')
  await settled()
  assert.deepEqual(
    server.rows.map(({ name, reviewer }) => [name, reviewer]),
    [
      ['b', 'grace'],
      ['a', 'ada'],
    ],
  )
})

test('a refused decision is kept with its reason and lets the next ones pass', async () => {
  const unsaved = open()
  server.failure = new RequestError('Reveal the image first.', { status: 409, kind: 'not_seen' })
  await assert.rejects(unsaved.submit('decisions', [answer('a')]), { kind: 'not_seen' })
  server.failure = null
  await unsaved.submit('decisions', [answer('b')])
  assert.deepEqual(names(), ['b'])
  assert.deepEqual(
    unsaved.items.value.map(({ state, message }) => [state, message]),
    [['refused', 'Reveal the image first.']],
  )
  assert.equal(due.length, 0)
  assert.equal(JSON.parse(stored.ada).length, 1)
  unsaved.resend(unsaved.items.value[0])
  await settled()
  assert.deepEqual(names(), ['b', 'a'])
})

test('a recorded decision about the same image replaces a refused one', async () => {
  const unsaved = open()
  server.failure = new RequestError('Reveal the image first.', { status: 409, kind: 'not_seen' })
  await assert.rejects(unsaved.submit('decisions', [answer('a', 'same')]))
  await assert.rejects(unsaved.submit('decisions', [answer('b', 'other')]))
  server.failure = null
  await unsaved.submit('decisions', [answer('a', 'same')])
  assert.deepEqual(
    unsaved.items.value.map(({ answers }) => answers[0].name),
    ['b'],
  )
  unsaved.dismiss(unsaved.items.value[0])
  assert.equal(stored.ada, '[]')
})

test('an ended session is waited for, an internal error is not waited for without end', async () => {
  const unsaved = open()
  server.failure = new RequestError('Sign in.', { status: 401 })
  unsaved.submit('decisions', [answer('a')])
  for (let attempt = 0; attempt < 5; attempt += 1) {
    await settled()
    runDue()
  }
  assert.equal(unsaved.items.value[0].state, 'waiting')
  await settled()
  server.failure = null
  runDue()
  await settled()
  server.failure = new RequestError('Bug.', { status: 500 })
  const sent = assert.rejects(unsaved.submit('decisions', [answer('b')]), /Bug/)
  for (let attempt = 0; attempt < 5; attempt += 1) {
    await settled()
    runDue()
  }
  await sent
})

test('the desk stops advancing at five waiting decisions, those of a batch included', async () => {
  const unsaved = open()
  server.failure = down
  unsaved.submit(
    'batches',
    ['a', 'b', 'c', 'd'].map((name) => answer(name)),
  )
  await settled()
  assert.equal(unsaved.stalled, false)
  unsaved.submit('decisions', [answer('e')])
  assert.equal(unsaved.stalled, true)
})

test('windows of one reviewer do not overwrite what the other stored', async () => {
  server.failure = down
  const [first, second] = [open(), open()]
  first.submit('decisions', [answer('a')])
  second.submit('decisions', [answer('b')])
  await settled()
  assert.equal(JSON.parse(stored.ada).length, 2)
})

test('invalid stored values are left out', () => {
  stored.ada = JSON.stringify([null, { id: 'x' }, { id: 'y', reviewer: 'grace', answers: [] }])
  assert.deepEqual(open().items.value, [])
})

test('a training label waits like a decision, across a reload, and replaces no refused decision', async () => {
  const unsaved = open()
  server.failure = new RequestError('Not seen.', { status: 409, kind: 'not_seen' })
  await assert.rejects(unsaved.submit('decisions', [answer('a')]))
  server.failure = down
  unsaved.submit('training/7', [answer('a')])
  await settled()
  const again = open()
  await settled()
  assert.deepEqual(
    again.items.value.map(({ path }) => path),
    ['decisions', 'training/7'],
  )
  server.failure = null
  await again.retry()
  await settled()
  assert.deepEqual(
    again.items.value.map(({ path }) => path),
    ['decisions'],
  )
})

test('the categories of an unsaved decision are kept for the next visit', async () => {
  server.failure = down
  open().submit('decisions', [{ ...answer('a'), categories: ['nudity'] }])
  await settled()
  const sent = []
  server.post = async (item) => sent.push(...item.answers)
  open()
  await settled()
  assert.deepEqual(
    sent.map(({ categories }) => categories),
    [['nudity']],
  )
})
