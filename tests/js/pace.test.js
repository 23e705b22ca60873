import assert from 'node:assert/strict'
import { test } from 'node:test'
import { duration, makePace } from '../../nsfw_app/ui/assets/queue/pace.js'

test('the rate is that of the last ten minutes, and none after a few seconds', () => {
  const pace = makePace()
  pace.add(0)
  pace.add(5_000)
  assert.equal(pace.perMinute(10_000), null)
  assert.equal(pace.perMinute(30_000), 4)
  pace.add(1_000_000)
  pace.add(1_060_000)
  assert.equal(pace.perMinute(1_060_000), 2)
  assert.equal(pace.decided, 4)
})

test('an undone decision no longer counts', () => {
  const pace = makePace()
  pace.add(0)
  pace.undo()
  assert.equal(pace.decided, 0)
  assert.equal(pace.perMinute(60_000), null)
})

test('a length of time has one unit', () => {
  const words = [30_000, 120_000, 7_200_000, 200_000_000].map(duration)
  assert.deepEqual(words, ['under a minute', '2 min', '2 h', '2 days'])
})
