import assert from 'node:assert/strict'
import { test } from 'node:test'
import { weightedCounts } from '../../nsfw_app/ui/assets/insights/weightedCounts.js'

const interval = (value) => ({ value, lower: 0, upper: 1, reviews: 10 })

test('the four counts add up to all images', () => {
  const counts = weightedCounts({
    images: 1000,
    prevalence: interval(0.1),
    recall: interval(0.75),
    false_positive_rate: interval(0.125),
  })
  assert.deepEqual(counts, {
    truePositives: 75,
    falseNegatives: 25,
    falsePositives: 112.5,
    trueNegatives: 787.5,
  })
})

test('without reviews nothing is known', () => {
  const none = { images: 5, prevalence: interval(null), recall: interval(null) }
  const counts = weightedCounts({ ...none, false_positive_rate: interval(null) })
  assert.deepEqual(new Set(Object.values(counts)), new Set([null]))
})
