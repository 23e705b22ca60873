import assert from 'node:assert/strict'
import { test } from 'node:test'
import { countSentences, shareThatDiffers } from '../../nsfw_app/ui/assets/insights/decisionText.js'
import { dateOf, dayNumber, topOf } from '../../nsfw_app/ui/assets/insights/timeScale.js'

const total = {
  name: 'all',
  decisions: 1200,
  false_negatives: 30,
  false_positives: 70,
  unsure: 200,
}

test('counts are named unweighted, and what waits is counted', () => {
  const [counted, waiting] = countSentences({ total, waiting: 3 })
  assert.match(counted, /^Decisions: 1,200, unweighted\. Nsfw .*: 30; normal .*: 70; unsure: 200\./)
  assert.match(counted, /not rates of all images/)
  assert.match(waiting, /^Not counted, in any period: .*, 3\.$/)
  assert.equal(countSentences({ total, waiting: 0 }).length, 1)
  assert.deepEqual(countSentences({ total: { ...total, decisions: 0 }, waiting: 0 }), [
    'No decision of this selection counts.',
  ])
})

test('unsure decisions neither agree nor differ', () => {
  assert.equal(shareThatDiffers(total), 0.1)
  assert.equal(shareThatDiffers({ ...total, decisions: 200 }), null)
})

test('days are in UTC, across the ends of years', () => {
  assert.equal(dateOf(dayNumber('2025-12-31') + 1), '2026-01-01')
  assert.equal(dayNumber('1970-01-02'), 1)
})

test('a wide interval does not flatten a chart of shares', () => {
  const point = { date: '2026-01-01', lower: 0, upper: 0.9 }
  assert.equal(topOf([{ ...point, value: 0.1 }]), 0.2)
  assert.equal(topOf([{ ...point, value: 0.7 }]), 1)
  assert.equal(topOf([{ ...point, value: null }]), 0.05)
  assert.equal(topOf([]), 0.05)
})
