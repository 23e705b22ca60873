import assert from 'node:assert/strict'
import { test } from 'node:test'
import { makeCardHistory } from '../../nsfw_app/ui/assets/shared/history.js'
import { makeMessageLine } from '../../nsfw_app/ui/assets/shared/messageLine.js'

function makeLine() {
  const said = []
  return { said, ...makeMessageLine((...words) => said.push(words.join(''))) }
}

/** A promise, and what resolves it. */
function delayed() {
  let reply
  const sent = new Promise((resolve) => {
    reply = resolve
  })
  return { sent, reply }
}

test('a delayed reply does not replace the message of a newer action', () => {
  const { begin, said } = makeLine()
  const decision = begin()
  const skip = begin()
  skip.done('Skipped')
  decision.done('Saved')
  assert.deepEqual(said, ['Skipped'])
})

test('replies in order are all shown', () => {
  const { begin, said } = makeLine()
  const decision = begin()
  const skip = begin()
  decision.done('Saved')
  skip.done('Skipped')
  assert.deepEqual(said, ['Saved', 'Skipped'])
})

test('the reply to a key is newer than an action in flight, a failure however late', () => {
  const { begin, say, said } = makeLine()
  const decision = begin()
  say('Save the form or cancel it first.')
  decision.done('Saved')
  begin().done('Skipped')
  say('Not saved')
  assert.deepEqual(said, ['Save the form or cancel it first.', 'Skipped', 'Not saved'])
})

test('what is said to be pending is replaced by its outcome', () => {
  const { begin, said } = makeLine()
  const decision = begin()
  begin().done('Skipped')
  decision.pending('Decided already, but not saved yet.')
  decision.done('Saved')
  assert.deepEqual(said, ['Skipped', 'Decided already, but not saved yet.', 'Saved'])
})

test('a delayed undo does not replace the message of a newer decision', async () => {
  const line = makeLine()
  const history = makeCardHistory({ line, onChange() {} })
  const { sent, reply } = delayed()
  const card = { image: { name: 'a.png' } }
  history.add(
    Promise.resolve(async (action) => {
      await sent
      action.done('Undone')
      return card
    }),
  )
  const undone = history.undoLast()
  line.begin().done('Saved')
  reply()
  assert.equal(await undone, card)
  assert.deepEqual(line.said, ['Saved'])
})

test('an undo that failed late is said', async () => {
  const line = makeLine()
  const history = makeCardHistory({ line, onChange() {} })
  const { sent, reply } = delayed()
  history.add(
    Promise.resolve(async () => {
      await sent
      throw new Error('offline')
    }),
  )
  const undone = history.undoLast()
  line.begin().done('Saved')
  reply()
  await undone
  assert.equal(line.said[0], 'Saved')
  assert.match(line.said[1], /^Not undone\. /)
})
