import assert from 'node:assert/strict'
import { test } from 'node:test'
import { splitName } from '../../nsfw_app/ui/assets/shared/fileName.js'

test('a long name keeps its end, and is not cut at a space', () => {
  assert.deepEqual(splitName('holiday in the mountains 0042.jpg'), [
    'holiday in the mountain',
    's 0042.jpg',
  ])
})

test('a short name is in one part', () => {
  assert.deepEqual(splitName('axe 01.png'), ['axe 01.png', ''])
})

test('both parts of a name make up the name, of any script', () => {
  for (const name of [
    'צילום ארוך מאוד מהחופשה האחרונה 0042.jpg',
    '👩‍👩‍👧'.repeat(30),
    ' '.repeat(40),
  ]) {
    const parts = splitName(name)
    assert.equal(parts.join(''), name)
    assert.ok(!/[\uD800-\uDBFF]$/.test(parts[0]))
  }
})
