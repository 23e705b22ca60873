import assert from 'node:assert/strict'
import { test } from 'node:test'
import { exposureOf, noteExposure } from '../../nsfw_app/ui/assets/shared/exposure.js'

test('an image that was never revealed is unseen', () => {
  assert.deepEqual(exposureOf({ sha256: 'a' }), { seen: false, seenMs: null })
  assert.deepEqual(exposureOf({}), { seen: false, seenMs: null })
  assert.deepEqual(exposureOf({ sha256: 'a', decision: { seen: false } }).seen, false)
})

test('what the server knows makes an image seen after a reload', () => {
  assert.deepEqual(exposureOf({ sha256: 'b', seen: true }), { seen: true, seenMs: null })
  const decided = { sha256: 'b', seen: false, decision: { seen: true } }
  assert.deepEqual(exposureOf(decided), { seen: true, seenMs: null })
})

test('the time on screen adds up', () => {
  noteExposure('c', true)
  noteExposure('c', false)
  const { seen, seenMs } = exposureOf({ sha256: 'c' })
  assert.ok(seen)
  assert.equal(exposureOf({ sha256: 'c', seen: false }).seenMs, seenMs)
  assert.ok(Number.isInteger(seenMs))
})
