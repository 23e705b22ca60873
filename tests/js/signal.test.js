import assert from 'node:assert/strict'
import { test } from 'node:test'
import { signal } from '../../nsfw_app/ui/assets/shared/signal.js'

test('a listener gets the current value and every later one', () => {
  const count = signal(1)
  const seen = []
  count.subscribe((value, previous) => seen.push([value, previous]))
  count.value = 2
  count.value = 2
  assert.deepEqual(seen, [
    [1, 1],
    [2, 1],
    [2, 2],
  ])
  assert.equal(count.value, 2)
})

test('a listener is not called before the value is known', () => {
  const status = signal(null)
  const seen = []
  status.subscribe((value, previous) => seen.push([value, previous]))
  status.value = null
  assert.deepEqual(seen, [])
  status.value = 'ready'
  assert.deepEqual(seen, [['ready', null]])
})

test('false and 0 are known values', () => {
  const seen = []
  signal(false).subscribe((value) => seen.push(value))
  signal(0).subscribe((value) => seen.push(value))
  assert.deepEqual(seen, [false, 0])
})

test('an unsubscribed listener is not called again', () => {
  const blurred = signal(true)
  const seen = []
  const unsubscribe = blurred.subscribe((value) => seen.push(value))
  unsubscribe()
  blurred.value = false
  assert.deepEqual(seen, [true])
})

test('a listener may unsubscribe itself while it is called', () => {
  const blurred = signal(true)
  const seen = []
  const unsubscribe = blurred.subscribe(() => seen.length && unsubscribe())
  blurred.subscribe((value) => seen.push(value))
  blurred.value = false
  blurred.value = true
  assert.deepEqual(seen, [true, false, true])
})
