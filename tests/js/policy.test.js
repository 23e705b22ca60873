import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  explain,
  opposite,
  parseThreshold,
  policyAt,
  verdictOf,
} from '../../nsfw_app/ui/assets/shared/policy.js'

const POLICY = { threshold: 0.5, review_from: 0.2, review_to: 0.8 }

test('scores below the band are allowed, from its end on they are blocked', () => {
  const verdicts = [0, 0.19, 0.2, 0.49, 0.5, 0.79, 0.8, 1].map((nsfw_score) =>
    verdictOf({ nsfw_score }, POLICY),
  )
  assert.deepEqual(
    verdicts.map(({ action }) => action),
    ['allow', 'allow', 'review', 'review', 'review', 'review', 'block', 'block'],
  )
  assert.deepEqual(
    verdicts.map(({ label }) => label),
    ['normal', 'normal', 'normal', 'normal', 'nsfw', 'nsfw', 'nsfw', 'nsfw'],
  )
})

test('without a score the action is unavailable', () => {
  for (const image of [null, { nsfw_score: null }]) {
    assert.deepEqual(verdictOf(image, POLICY), { label: null, action: 'unavailable' })
  }
})

test('an incomplete image is never allowed', () => {
  assert.equal(verdictOf({ nsfw_score: 0.1, incomplete: true }, POLICY).action, 'review')
  assert.equal(verdictOf({ nsfw_score: 0.9, incomplete: true }, POLICY).action, 'block')
})

test('the band stretches only as far as it must to include the threshold', () => {
  const bands = {
    0: [0, 0.8],
    0.1: [0.1, 0.8],
    0.2: [0.2, 0.8],
    0.6: [0.2, 0.8],
    0.9: [0.2, 0.9],
    1: [0.2, 1],
  }
  for (const [text, [review_from, review_to]] of Object.entries(bands)) {
    const threshold = Number(text)
    assert.deepEqual(policyAt(POLICY, threshold), { threshold, review_from, review_to })
  }
  assert.equal(POLICY.threshold, 0.5)
})

test('the explanation names the limit, or the missing parts', () => {
  assert.equal(explain('allow', { nsfw_score: 0.1 }, POLICY), 'Allowed below 0.20.')
  assert.equal(explain('block', { nsfw_score: 0.9 }, POLICY), 'Blocked at 0.80 and above.')
  assert.match(explain('review', { nsfw_score: 0.5 }, POLICY), /from 0\.20 to 0\.80/)
  assert.match(explain('review', { nsfw_score: 0.1 }, POLICY), /parts of the image are missing/)
})

test('a threshold is limited to [0, 1], and an empty field is none', () => {
  assert.deepEqual([0.3, '0.3', -1, 2].map(parseThreshold), [0.3, 0.3, 0, 1])
  assert.deepEqual([null, '', 'x', undefined, Number.NaN].map(parseThreshold), Array(5).fill(null))
})

test('the other label', () => {
  assert.deepEqual(['nsfw', 'normal', null].map(opposite), ['normal', 'nsfw', 'nsfw'])
})
