import assert from 'node:assert/strict'
import { test } from 'node:test'
import { agreementOf } from '../../nsfw_app/ui/assets/gallery/agreement.js'
import { passes as fits, isUnjudged } from '../../nsfw_app/ui/assets/gallery/criteria.js'
import { gatherGroups, makeGroups } from '../../nsfw_app/ui/assets/gallery/duplicates.js'
import { comparator } from '../../nsfw_app/ui/assets/gallery/order.js'
import { agreeWords } from '../../nsfw_app/ui/assets/gallery/selection.js'
import { summarize } from '../../nsfw_app/ui/assets/gallery/summary.js'

const passes = (card, criteria, policy = POLICY) => fits(card, criteria, policy)
const POLICY = { threshold: 0.5, review_from: 0.2, review_to: 0.8 }
const ANY = {
  action: 'all',
  state: 'any',
  reason: '',
  category: '',
  categoryFrom: null,
  name: '',
  low: null,
  high: null,
}
const RULED = {
  ...POLICY,
  category_rules: [{ category: 'gore_or_violence', threshold: 0.8, action: 'block' }],
}
const judged = (categories, changes = {}) =>
  card({ image: { nsfw_score: 0.4, categories }, ...changes })
const agreed = { decision: { reasons: [] }, agreement: 'agree' }
const disagreed = { decision: { reasons: ['art'] }, agreement: 'disagree' }
const unsure = { decision: { reasons: [] }, agreement: 'unsure' }

const card = (changes = {}) => ({
  names: ['a.png'],
  image: { nsfw_score: 0.4 },
  decision: null,
  agreement: null,
  ...changes,
})

test('without criteria every card passes', () => {
  assert.ok(passes(card(), ANY))
  assert.ok(passes(card({ image: { nsfw_score: null } }), ANY))
})

test('cards are filtered by decision', () => {
  const cards = [card(), card(agreed), card(disagreed), card(unsure)]
  const passing = (state) => cards.map((one) => passes(one, { ...ANY, state }))
  assert.deepEqual(passing('any'), [true, true, true, true])
  assert.deepEqual(passing('open'), [true, false, false, false])
  assert.deepEqual(passing('agree'), [false, true, false, false])
  assert.deepEqual(passing('disagree'), [false, false, true, false])
  assert.deepEqual(passing('unsure'), [false, false, false, true])
})

test('unsure neither agrees nor disagrees; a moved threshold changes what agrees', () => {
  assert.equal(agreementOf(undefined, 'normal'), null)
  assert.equal(agreementOf('normal', 'normal'), 'agree')
  assert.equal(agreementOf('normal', 'nsfw'), 'disagree')
  assert.equal(agreementOf('unsure', 'normal'), 'unsure')
  assert.equal(agreementOf('unsure', 'nsfw'), 'unsure')
})

test('the button that agrees with all says how many are unseen', () => {
  assert.equal(agreeWords({ count: 12, unseen: 12 }), 'Agree with 12 unseen images')
  assert.equal(agreeWords({ count: 1, unseen: 1 }), 'Agree with 1 unseen image')
  assert.equal(agreeWords({ count: 12, unseen: 0 }), 'Agree with 12 images')
  assert.equal(agreeWords({ count: 12, unseen: 5 }), 'Agree with 12 images, 5 unseen')
  assert.equal(agreeWords({ count: 0, unseen: 0 }), 'Agree with 0 images')
})

test('cards are filtered by reason, and by any of their names', () => {
  assert.ok(passes(card(disagreed), { ...ANY, reason: 'art' }))
  assert.ok(!passes(card(agreed), { ...ANY, reason: 'art' }))
  assert.ok(!passes(card(), { ...ANY, reason: 'art' }))
  assert.ok(passes(card({ names: ['a.png', 'zebra.png'] }), { ...ANY, name: 'zeb' }))
  assert.ok(!passes(card(), { ...ANY, name: 'zeb' }))
})

test('a score range includes its ends and excludes cards without a score', () => {
  assert.ok(passes(card(), { ...ANY, low: 0.4, high: 0.4 }))
  assert.ok(passes(card(), { ...ANY, low: 0.3 }))
  assert.ok(!passes(card(), { ...ANY, low: 0.41 }))
  assert.ok(!passes(card(), { ...ANY, high: 0.39 }))
  assert.ok(!passes(card({ image: { nsfw_score: null } }), { ...ANY, low: 0 }))
})

test('cards are filtered by category, from its rule or from the chosen probability upwards', () => {
  const gore = { ...ANY, category: 'gore_or_violence' }
  const likely = judged({ gore_or_violence: 0.7 })
  assert.ok(passes(likely, gore))
  assert.ok(!passes(likely, gore, RULED))
  assert.ok(passes(judged({ gore_or_violence: 0.8 }), gore, RULED))
  assert.ok(passes(likely, { ...gore, categoryFrom: 0.7 }, RULED))
  assert.ok(!passes(likely, { ...gore, categoryFrom: 0.71 }))
  assert.ok(!passes(judged({ nudity: 0.9 }), { ...gore, categoryFrom: 0 }))
  assert.ok(!passes(judged(null), gore))
  assert.ok(passes(judged(null), { ...ANY, category: 'none' }))
  assert.ok(!passes(likely, { ...ANY, category: 'none' }))
})

test('a card is unjudged only if the missing category alone hides it', () => {
  const gore = { ...ANY, category: 'gore_or_violence' }
  assert.ok(isUnjudged(judged(null), gore))
  assert.ok(isUnjudged(judged({ nudity: 0.9 }), gore))
  assert.ok(!isUnjudged(judged({ gore_or_violence: 0.1 }), gore))
  assert.ok(!isUnjudged(judged(null), { ...gore, name: 'zebra' }))
  assert.ok(!isUnjudged(judged(null), ANY))
})

test('cards are sorted by the chosen category, or by the highest; those not judged come last', () => {
  const images = [
    { name: 'none', nsfw_score: 0.9, categories: null },
    { name: 'gore', nsfw_score: 0.3, categories: { gore_or_violence: 0.6, nudity: 0.1 } },
    { name: 'nude', nsfw_score: 0.2, categories: { gore_or_violence: 0.2, nudity: 0.9 } },
    { name: 'failed', nsfw_score: null },
  ]
  const sorted = (category) =>
    [...images].sort(comparator('category', POLICY, category)).map(({ name }) => name)
  assert.deepEqual(sorted(''), ['failed', 'nude', 'gore', 'none'])
  assert.deepEqual(sorted('gore_or_violence'), ['failed', 'gore', 'nude', 'none'])
})

test('the summary says how many images no model judged', () => {
  const line = (unjudged) =>
    summarize({
      policy: POLICY,
      total: 5,
      passing: [],
      onScreen: 0,
      unjudged,
      category: 'self_harm',
    })
  assert.match(line(3), /5 are hidden by the filters, 3 of them because no model judged Self-harm./)
  assert.match(line(0), /5 are hidden by the filters./)
})

test('cards are sorted by score, by name with numbers, or by distance', () => {
  const images = [
    { name: 'b10', nsfw_score: 0.9 },
    { name: 'b9', nsfw_score: 0.45 },
    { name: 'a', nsfw_score: null },
    { name: 'c', nsfw_score: 0.1 },
  ]
  const sorted = (order) => [...images].sort(comparator(order, POLICY)).map(({ name }) => name)
  assert.deepEqual(sorted('score'), ['a', 'b10', 'b9', 'c'])
  assert.deepEqual(sorted('name'), ['a', 'b9', 'b10', 'c'])
  assert.deepEqual(sorted('nearest'), ['a', 'b9', 'b10', 'c'])
})

test('hashes that differ in at most four bits are one group', () => {
  const groupOf = makeGroups()
  const first = groupOf('00000000ffffffff')
  assert.equal(groupOf('0000000fffffffff'), first)
  assert.equal(groupOf('80000000fffffff8'), first)
  assert.notEqual(groupOf('0000001fffffffff'), first)
})

test('a chain of small differences does not join different images', () => {
  const groupOf = makeGroups()
  const first = groupOf('00000000ffffffff')
  assert.equal(groupOf('0000000fffffffff'), first)
  assert.notEqual(groupOf('000000ffffffffff'), first)
})

test('flat images are one group only if no cell of their grids differs much', () => {
  const flat = (bits, cells) => bits + cells.padEnd(1536, '80')
  const groupOf = makeGroups()
  const first = groupOf(flat('0000000000000000', ''))
  assert.equal(groupOf(flat('0000000000000000', '86')), first)
  assert.equal(groupOf(flat('000000000000000f', '7a')), first)
  assert.notEqual(groupOf(flat('0000000000000000', '87')), first)
  assert.notEqual(groupOf(flat('ffffffffffffffff', '')), first)
  const edge = groupOf(flat('0000000000000000', 'ff00'))
  assert.equal(groupOf(flat('0000000000000000', 'ff23')), edge)
  assert.notEqual(groupOf(flat('0000000000000000', 'ff24')), edge)
})

test('hashes that differ in some more bits are one group if their grids are near', () => {
  const grid = (/** @type {string} */ level) => level.repeat(768)
  const groupOf = makeGroups()
  const first = groupOf(`00000000ffffffff${grid('80')}`)
  assert.equal(groupOf(`00000fffffffffff${grid('86')}`), first)
  assert.notEqual(groupOf(`00000fffffffffff${grid('87')}`), first)
  assert.notEqual(groupOf(`00001fffffffffff${grid('80')}`), first)
  assert.notEqual(groupOf('00000fffffffffff'), first)
})

test('flat images with hashes of earlier versions are not near duplicates', () => {
  const groupOf = makeGroups()
  for (const hash of ['0000000000000000', '000000000007ffff', 'ffffffffffffffff'])
    assert.notEqual(groupOf(hash), groupOf(hash))
  assert.equal(groupOf('00000000000fffff'), groupOf('00000000000fffff'))
})

test('an image without a valid hash has its own group', () => {
  const groupOf = makeGroups()
  assert.notEqual(groupOf(null), groupOf(null))
  assert.notEqual(groupOf('xyz'), groupOf('xyz'))
})

test('members of a group follow its first one', () => {
  const [a, b] = [{}, {}]
  const items = [
    { group: a, n: 1 },
    { group: b, n: 2 },
    { group: a, n: 3 },
  ]
  assert.deepEqual(
    gatherGroups(items).map(({ n }) => n),
    [1, 3, 2],
  )
})

test('the summary counts what is shown and says what is hidden', () => {
  const shown = [
    { action: 'allow', agreement: 'agree', spare: 0 },
    { action: 'allow', agreement: null, spare: 2 },
    { action: 'block', agreement: 'disagree', spare: 0 },
    { action: 'block', agreement: 'unsure', spare: 0 },
  ]
  assert.equal(
    summarize({ policy: POLICY, total: 5, passing: shown, onScreen: 3 }),
    '4 of 5 images at threshold 0.50: 2 allow, 2 block. 3 decided, 1 disagreement, 1 unsure. ' +
      '1 is hidden by the filters. 2 more files with the same content. 1 near duplicate collapsed.',
  )
  assert.equal(
    summarize({ policy: POLICY, total: 1, passing: shown.slice(0, 1), onScreen: 1 }),
    '1 image at threshold 0.50: 1 allow. 1 decided, 0 disagreements.',
  )
})
