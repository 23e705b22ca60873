import assert from 'node:assert/strict'
import { test } from 'node:test'
import { weightedCounts } from '../../nsfw_app/ui/assets/insights/weightedCounts.js'

const interval = (value, lower, upper) => ({ value, lower, upper, reviews: 10 })

test('the four counts add up to all images, and have intervals', () => {
  const counts = weightedCounts({
    images: 1000,
    flagged: interval(200, 200, 200),
    precision: interval(0.75, 0.5, 0.9),
    missed: interval(25, 10, 60),
  })
  assert.deepEqual(counts, {
    truePositives: { value: 150, lower: 100, upper: 180 },
    falsePositives: { value: 50, lower: 20, upper: 100 },
    falseNegatives: { value: 25, lower: 10, upper: 60 },
    trueNegatives: { value: 775, lower: 740, upper: 790 },
  })
})

test('without reviews nothing is known', () => {
  const counts = weightedCounts({
    images: 5,
    flagged: interval(2, 2, 2),
    precision: interval(null, 0, 1),
    missed: interval(null, 0, 5),
  })
  assert.deepEqual(
    Object.values(counts).map(({ value }) => value),
    [null, null, null, null],
  )
  assert.deepEqual(counts.trueNegatives, { value: null, lower: 0, upper: 3 })
})
