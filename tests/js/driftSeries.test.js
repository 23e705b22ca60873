import assert from 'node:assert/strict'
import { test } from 'node:test'
import { distance, scoreRows, sharesOf } from '../../nsfw_app/ui/assets/insights/driftSeries.js'

const COMPARISON = { reference_scores: [60, 40], week_scores: [1, 3] }

test('scores are compared by their shares, not by their numbers of images', () => {
  assert.deepEqual(scoreRows(COMPARISON), [
    [0, 0.5, 1, 0.25, 60, 0.6],
    [0.5, 1, 3, 0.75, 40, 0.4],
  ])
  assert.equal(distance(COMPARISON), 0.35)
})

test('of no image there is no share', () => {
  assert.deepEqual(sharesOf([0, 0]), [null, null])
  assert.equal(distance({ ...COMPARISON, week_scores: [0, 0] }), null)
})
