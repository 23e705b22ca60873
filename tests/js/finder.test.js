import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  assess,
  certifiedIndex,
  doubts,
  indexOf,
  moreReviews,
  moved,
  nearestHandle,
  percent,
  reasonOf,
  resultSentences,
  reviewsADay,
  reviewsOfDays,
} from '../../nsfw_app/ui/assets/insights/finder.js'
import { handleText } from '../../nsfw_app/ui/assets/insights/handleText.js'
import { proposal } from '../../nsfw_app/ui/assets/insights/proposal.js'
import { checkedTargets } from '../../nsfw_app/ui/assets/insights/targets.js'

const interval = (value, reviews = 50) => ({
  value,
  lower: Math.max(0, value - 0.02),
  upper: Math.min(1, value + 0.02),
  reviews,
})
const hundredths = Array.from({ length: 101 }, (_, at) => at / 100)
const POLICY = { review_from: 0.2, threshold: 0.5, review_to: 0.8 }
const TARGETS = { recall: 0.95, precision: null, reviews: null }

/** Recall falls from 1 by a tenth of the threshold; 10 images in each hundredth, 1 of them audited. */
const EVIDENCE = {
  curve: {
    thresholds: hundredths,
    recall: hundredths.map((t) => interval(1 - t / 10)),
    precision: hundredths.map((t) => interval(t)),
    bounds: hundredths.map((t) => 0.98 - t / 10),
    images: Array(100).fill(10),
    audits: Array(100).fill(1),
  },
  policy: POLICY,
  days: 10,
  days_selected: 30,
  images: 1000,
  reviews: 640,
  bound_confidence: 0.9,
  more_reviews: { 0.9: null, 0.95: null, 0.98: 1234, 0.99: null },
  allowed: { images: 1000, prevalence: interval(0.1) },
}

test('a threshold is certified if it and all lower ones have the bound', () => {
  assert.equal(certifiedIndex([0, 0.99, 0.97, 0.96, 0.94, 0.99], 0.95), 3)
  assert.equal(certifiedIndex([1, 0.94, 0.99], 0.95), null)
  assert.equal(certifiedIndex([1, 0.96, 0.95], 0.95), 2)
})

test('a number between two thresholds has the recall of the higher one', () => {
  assert.deepEqual([0, 0.2, 0.29, 0.333, 1].map(indexOf), [0, 20, 29, 34, 100])
})

test('reviews are the whole band, the audits outside of it, and parts of a hundredth', () => {
  const { curve } = EVIDENCE
  assert.equal(reviewsADay(curve, 10, POLICY), (60 * 10 + 40) / 10)
  assert.equal(reviewsADay(curve, 10, { review_from: 0.5, review_to: 0.5 }), 10)
  const half = reviewsADay(curve, 10, { review_from: 0.205, review_to: 0.8 })
  assert.ok(Math.abs(half - (59.5 * 10 + 40.5) / 10) < 1e-9)
  assert.equal(reviewsADay(curve, null, POLICY), null)
})

test('the forecast is that of the nearest target that has one, the higher ones first', () => {
  const forecasts = { 0.9: 300, 0.95: 600, 0.98: 1234, 0.99: null }
  const of = (recall) => moreReviews(forecasts, recall)
  assert.deepEqual(of(0.98), { target: 0.98, reviews: 1234 })
  assert.deepEqual(of(0.96), { target: 0.98, reviews: 1234 })
  assert.deepEqual(of(0.6), { target: 0.9, reviews: 300 })
  assert.deepEqual(of(0.995), { target: 0.98, reviews: 1234 })
  assert.equal(moreReviews({ 0.95: null }, 0.95), null)
})

test('the sentence says which target a forecast is for, where it is not the one that is set', () => {
  const uncertain = { ...EVIDENCE, curve: { ...EVIDENCE.curve, bounds: Array(101).fill(0) } }
  const first = (more_reviews, recall) =>
    resultSentences({ ...uncertain, more_reviews }, POLICY, { ...TARGETS, recall })[0]
  assert.equal(
    first({ 0.95: 600, 0.98: 1234 }, 0.96),
    'Not yet: about 1,300 more sampled reviews certify a recall of at least 98 %, if they are like those so far. That is the nearest target with a forecast; 96 % takes fewer.',
  )
  assert.equal(
    first({ 0.98: 1234, 0.99: null }, 0.995),
    'Not yet: the 640 sampled reviews so far do not show a recall of at least 99.5 %. About 1,300 more sampled reviews certify a recall of at least 98 %, the nearest target with a forecast, if they are like those so far.',
  )
  assert.equal(
    first({ 0.95: 1 }, 0.95),
    'Not yet: about 1 more sampled review certifies a recall of at least 95 %, if they are like those so far.',
  )
})

test('the reviews of a day vary by chance, and as the images of a day do', () => {
  const { curve } = EVIDENCE
  const range = (dispersion, band = POLICY) => reviewsOfDays({ curve, days: 10, dispersion }, band)
  const by_chance = range(null) // a mean of 64: quantiles of Poisson are 49 and 80
  assert.ok(Math.abs(by_chance.lower - 49.3) < 0.5 && Math.abs(by_chance.upper - 80.6) < 0.5)
  assert.deepEqual(range(1), by_chance)
  // 100 images a day with a variance of 900; 64 % of them are reviewed: 64 * (1 + 0.64 * 8) = 19.8 squared
  const { lower, upper } = range(9)
  assert.ok(Math.abs(lower - 31) < 2 && Math.abs(upper - 108) < 2, `${lower} to ${upper}`)
  assert.ok(range(9, { review_from: 1, review_to: 1 }).upper < 20) // 10 audits
  const everything = range(0, { review_from: 0, review_to: 1 })
  assert.deepEqual(everything, { lower: 100, upper: 100 })
  assert.equal(reviewsOfDays({ curve, days: null }, POLICY), null)
  const none = { ...curve, images: Array(100).fill(0), audits: Array(100).fill(0) }
  assert.deepEqual(reviewsOfDays({ curve: none, days: 10 }, POLICY), { lower: 0, upper: 0 })
})

test('a moved number pushes the others', () => {
  assert.deepEqual(moved(POLICY, 'threshold', 0.6), { ...POLICY, threshold: 0.6 })
  assert.deepEqual(moved(POLICY, 'threshold', 0.1), { ...POLICY, review_from: 0.1, threshold: 0.1 })
  assert.deepEqual(moved(POLICY, 'review_from', 0.9), {
    review_from: 0.9,
    threshold: 0.9,
    review_to: 0.9,
  })
  assert.deepEqual(moved(POLICY, 'review_to', 0.3), {
    review_from: 0.2,
    threshold: 0.3,
    review_to: 0.3,
  })
})

test('the result says what is certified, missed, reviewed and how precise it is', () => {
  assert.deepEqual(resultSentences(EVIDENCE, POLICY, TARGETS), [
    'Recall of at least 95 % is certified up to 0.30 with 90 % confidence.',
    'The certificate is from 640 sampled reviews.',
    'About 2 unsafe images of 1,000 are allowed: estimated recall 98.0 % (96.0 to 100.0), from 50 reviewed unsafe images.',
    'About 64 reviews a day; on 95 % of days 49 to 81.',
    'Precision at the threshold 50.0 % (48.0 to 52.0), from 50 reviews.',
  ])
  const strict = { recall: 0.95, precision: 0.6, reviews: 20 }
  const [, , , reviews, precision] = resultSentences(EVIDENCE, POLICY, strict)
  assert.equal(
    reviews,
    'About 64 reviews a day, more than the target of 20; on 95 % of days 49 to 81.',
  )
  assert.match(precision, /; its lower end is below the target of 60 %\.$/)
})

test('what is not certified is said', () => {
  const high = { ...POLICY, review_from: 0.31 }
  assert.equal(assess(EVIDENCE, POLICY, TARGETS).holds, true)
  assert.match(
    resultSentences(EVIDENCE, high, TARGETS)[0],
    /^Recall of at least 95 % is certified up to 0\.30 with 90 % confidence, but not at 0\.31/,
  )
  const first = (evidence, recall) => resultSentences(evidence, POLICY, { ...TARGETS, recall })[0]
  assert.match(first(EVIDENCE, 0.98), /^Not yet: about 1,300 more sampled reviews certify/)
  assert.match(
    first(EVIDENCE, 0.99),
    /^Not yet: the 640 .* do not show a .* 99 %\. About 1,300 more/,
  )
  assert.match(first({ ...EVIDENCE, reviews: 0 }, 0.99), /^Not yet: no image that was drawn/)
})

test('nothing is estimated without reviews', () => {
  const none = { value: null, lower: 0, upper: 1, reviews: 0 }
  const empty = {
    ...EVIDENCE,
    reviews: 0,
    days: null,
    curve: {
      ...EVIDENCE.curve,
      recall: Array(101).fill(none),
      precision: Array(101).fill(none),
      bounds: Array(101).fill(0),
    },
    allowed: { images: 0, prevalence: none },
  }
  assert.equal(resultSentences(empty, POLICY, TARGETS).length, 1)
})

test('the proposal allows what is certified, has the precision, and fits the reviews of a day', () => {
  const start = proposal(EVIDENCE, POLICY, TARGETS)
  assert.deepEqual(start, { numbers: { ...POLICY, review_from: 0.3 }, unmet: [] })
  const { numbers } = proposal(EVIDENCE, POLICY, { recall: 0.95, precision: 0.405, reviews: 30 })
  assert.deepEqual([numbers.review_from, numbers.threshold], [0.3, 0.43], 'its lower end is 0.41')
  assert.ok(reviewsADay(EVIDENCE.curve, 10, numbers) <= 30)
  const wider = { ...numbers, review_to: numbers.review_to + 0.01 }
  assert.ok(reviewsADay(EVIDENCE.curve, 10, wider) > 30)
})

test('targets that cannot be met have no proposal, and it is said by how much they are missed', () => {
  assert.deepEqual(proposal(EVIDENCE, POLICY, { recall: 0.99, precision: null, reviews: null }), {
    numbers: null,
    unmet: [
      'A recall of at least 99 % is not certified at any threshold: the highest bound is 97.9 %, 1.1 points less.',
    ],
  })
  const evidence = {
    ...EVIDENCE,
    curve: { ...EVIDENCE.curve, precision: EVIDENCE.curve.thresholds.map(() => interval(0.83)) },
  }
  const found = proposal(evidence, POLICY, { recall: 0.95, precision: 0.999, reviews: 10 })
  assert.equal(found.numbers, null)
  assert.deepEqual(found.unmet, [
    'A precision of at least 99.9 % is not shown: the highest lower end of its range is 81 %, 18.9 points less.',
    'At most 10 reviews a day cannot be met: about 28 come from scores between 0.30 and 0.50 and from audits, which is 18 too many.',
  ])
  const none = proposal(evidence, POLICY, { recall: 0.95, precision: null, reviews: 0 })
  assert.match(none.unmet[0], /about 28 come from .*, which is 28 too many\.$/)
})

test('targets are percentages, and a wrong one is a sentence', () => {
  const empty = { precision: '', reviews: '' }
  assert.deepEqual(checkedTargets({ recall: '95', precision: ' 80.5', reviews: '0' }).targets, {
    recall: 0.95,
    precision: 0.805,
    reviews: 0,
  })
  assert.deepEqual(checkedTargets({ ...empty, recall: '99.9' }).targets.precision, null)
  for (const recall of ['0.95', '0', '1.5', '-1', '101', '', 'abc', '100', '1e2']) {
    const { targets, errors } = checkedTargets({ ...empty, recall })
    assert.equal(targets, null, recall)
    assert.match(errors.recall, /a percentage from 50 to 99\.9/)
  }
  for (const [name, text] of [
    ['precision', '0.8'],
    ['precision', '101'],
    ['reviews', '-1'],
    ['reviews', '1,000'],
  ]) {
    const { targets, errors } = checkedTargets({ ...empty, recall: '95', [name]: text })
    assert.equal(targets, null)
    assert.ok(errors[name] && !errors.recall)
  }
})

test('a pointer grips the nearest number, of equal ones that which can be moved to its side', () => {
  assert.equal(nearestHandle(POLICY, 0.21, 0.02), 'review_from')
  assert.equal(nearestHandle(POLICY, 0.23, 0.02), null)
  const same = { review_from: 0.5, threshold: 0.5, review_to: 0.5 }
  assert.equal(nearestHandle(same, 0.51, 0.02), 'review_to')
  assert.equal(nearestHandle(same, 0.49, 0.02), 'review_from')
})

test('the reviews of the certificate are counted where it is of more than the period', () => {
  const longer = { ...EVIDENCE, reviews: 0, bounds_reviews: 900 }
  assert.match(reasonOf(longer, POLICY, TARGETS), /confidence, from 900 sampled reviews; /)
  assert.match(resultSentences(longer, POLICY, TARGETS)[1], /900 .* in all periods\.$/)
})

test('an alarm, a lower estimate or one source only are doubts, and in the reason', () => {
  assert.deepEqual(doubts(EVIDENCE, POLICY, TARGETS), [])
  const alarm = 'The scores of recent images differ.'
  assert.deepEqual(doubts({ ...EVIDENCE, alarms: [alarm] }, POLICY, TARGETS), [alarm])
  const blind = { ...POLICY, threshold: 1, review_to: 1 }
  assert.match(doubts(EVIDENCE, blind, TARGETS)[0], /never labeled nsfw\.$/)
  assert.match(
    reasonOf({ ...EVIDENCE, alarms: [alarm] }, POLICY, TARGETS),
    /an alarm was raised\.$/,
  )
  const api = { ...EVIDENCE, source: 'api' }
  assert.match(doubts(api, POLICY, TARGETS)[0], /images from api only; .* all sources\.$/)
  assert.match(reasonOf(api, POLICY, TARGETS), /; images from api only\.$/)
  const low = { value: 0.82, lower: 0.79, upper: 0.86, reviews: 50 }
  const worse = {
    ...EVIDENCE,
    curve: { ...EVIDENCE.curve, recall: EVIDENCE.curve.recall.map(() => low) },
  }
  assert.match(doubts(worse, POLICY, TARGETS)[0], /estimated recall of this one is lower: 82\.0 %/)
  assert.match(resultSentences(worse, POLICY, TARGETS)[1], /estimated recall of this one is lower/)
  const uncertified = { ...POLICY, review_from: 0.4 }
  assert.match(doubts(EVIDENCE, uncertified, TARGETS)[0], /, but not at 0\.40/)
})

test('a slider says its number, and what follows from it', () => {
  const of = (name, numbers = POLICY, targets = TARGETS) =>
    handleText(name, EVIDENCE, numbers, targets)
  assert.equal(of('review_from'), '0.20, certified')
  assert.equal(of('review_from', { ...POLICY, review_from: 0.4 }), '0.40, not certified')
  assert.equal(of('threshold'), '0.50, precision 50 %')
  assert.equal(of('review_to'), '0.80, about 64 reviews a day')
  assert.equal(of('review_to', POLICY, null), '0.80')
})

test('the reason states the evidence', () => {
  assert.equal(
    reasonOf(EVIDENCE, POLICY, TARGETS),
    'Recall of at least 95 % certified up to 0.30 with 90 % confidence, from 640 sampled reviews; estimated 98.0 % (96.0 to 100.0) in the last 30 days, from 50 reviewed unsafe images; about 64 reviews a day.',
  )
  assert.match(
    reasonOf(EVIDENCE, { ...POLICY, review_from: 0.4 }, TARGETS),
    /^Recall of at least 95 % not certified, from 640 sampled reviews; /,
  )
})

test('less than all is never called 100 %', () => {
  assert.deepEqual([0.953, 0.9994, 0.9997, 1].map(percent), [
    '95.3 %',
    '99.9 %',
    '99.97 %',
    '100 %',
  ])
})
