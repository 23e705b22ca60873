import assert from 'node:assert/strict'
import { test } from 'node:test'
import { scaleLimits } from '../../nsfw_app/ui/assets/shared/loupeView.js'

const STAGE = [1200, 720]

test('an image fits the stage, and is enlarged twice at most', () => {
  assert.equal(scaleLimits({ width: 800, height: 600, turns: 0 }, STAGE).fit, 1.2)
  assert.equal(scaleLimits({ width: 40, height: 30, turns: 0 }, STAGE).fit, 2)
  assert.equal(scaleLimits({ width: 800, height: 600, turns: 0 }, STAGE).most, 2)
})

test('the pixels of a large image are those of its preview', () => {
  const { size, fit } = scaleLimits({ width: 4000, height: 3000, turns: 0 }, STAGE)
  assert.deepEqual(size, [1600, 1200])
  assert.equal(fit, 0.6)
})

test('a rotated image fits with its sides exchanged', () => {
  const { turned, fit } = scaleLimits({ width: 1200, height: 600, turns: 3 }, STAGE)
  assert.deepEqual(turned, [600, 1200])
  assert.equal(fit, 0.6)
})
