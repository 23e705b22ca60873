import assert from 'node:assert/strict'
import { test } from 'node:test'
import { makeHistory } from '../../nsfw_app/ui/assets/shared/history.js'

const done = (name) => Promise.resolve(async () => name)

test('the last action is undone first', async () => {
  const history = makeHistory()
  history.add(done('first'))
  history.add(done('second'))
  assert.equal(await history.undoLast(), 'second')
  assert.equal(await history.undoLast(), 'first')
  assert.equal(await history.undoLast(), null)
})

test('failed actions are skipped', async () => {
  const history = makeHistory()
  history.add(done('saved'))
  history.add(Promise.resolve(null))
  assert.equal(await history.undoLast(), 'saved')
})

test('an undo waits for an action in flight', async () => {
  const history = makeHistory()
  const order = []
  history.add(
    new Promise((resolve) => setTimeout(resolve, 5)).then(() => {
      order.push('saved')
      return async () => order.push('undone')
    }),
  )
  await history.undoLast()
  assert.deepEqual(order, ['saved', 'undone'])
})

test('two undos at once run one after the other', async () => {
  const history = makeHistory()
  const order = []
  for (const name of ['first', 'second']) {
    history.add(
      Promise.resolve(async () => {
        order.push(`${name} starts`)
        await new Promise((resolve) => setTimeout(resolve, 2))
        order.push(`${name} ends`)
      }),
    )
  }
  await Promise.all([history.undoLast(), history.undoLast()])
  assert.deepEqual(order, ['second starts', 'second ends', 'first starts', 'first ends'])
})

test('an undo that failed can be tried again', async () => {
  const history = makeHistory()
  let attempts = 0
  history.add(
    Promise.resolve(async () => {
      attempts += 1
      if (attempts === 1) throw new Error('offline')
      return 'undone'
    }),
  )
  await assert.rejects(history.undoLast(), /offline/)
  assert.equal(await history.undoLast(), 'undone')
})

test('what was taken back already is passed over', async () => {
  const history = makeHistory()
  history.add(done('earlier'))
  history.add(Promise.resolve(async () => null))
  assert.equal(await history.undoLast(), 'earlier')
})
