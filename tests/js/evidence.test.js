import assert from 'node:assert/strict'
import { test } from 'node:test'
import { csvOf } from '../../nsfw_app/ui/assets/insights/csv.js'
import { driftSentences, leftOutSentences } from '../../nsfw_app/ui/assets/insights/evidenceText.js'

test('what is left out is counted, and nothing is said of nothing', () => {
  const all = { images: 100, never_drawn: 0, unsettled: 0, provisional: 0, outdated: false }
  assert.deepEqual(leftOutSentences(all), [])
  assert.deepEqual(leftOutSentences({ ...all, never_drawn: 1, unsettled: 2, outdated: true }), [
    '1 image could not have been drawn for review, so nothing is known of it.',
    '2 images drawn for review have no settled label yet: the worst case in certificates. Estimates take them to be like the reviewed ones of similar scores.',
    'Newer images or decisions are being counted.',
  ])
  const [some] = leftOutSentences({ ...all, unsettled: 12, provisional: 9 })
  assert.match(
    some,
    /count 9 of them with the label of most decisions so far, and take the other 3 to be like/,
  )
  const [each] = leftOutSentences({ ...all, unsettled: 2, provisional: 2 })
  assert.match(each, /Estimates count them with the label of most decisions so far\.$/)
})

test('drift has the sizes that are compared', () => {
  const calm = { alarm: null, reference: 3000, recent: 400, compared: true }
  const [scores, disagreements] = driftSentences({
    drift: { ...calm, alarm: 29 },
    disagreement_drift: { ...calm, compared: false },
  })
  assert.equal(
    scores,
    'Scores: 400 recent images compared with 3,000, a change is shown from recent number 30 on.',
  )
  assert.match(disagreements, /fewer than 100 in the reference/)
  const [, , , accepted] = driftSentences({
    drift: calm,
    disagreement_drift: calm,
    comparison: {
      accepted: { at: '2026-02-03T04:05:06.789Z', author: 'ann', reason: 'A new app.' },
    },
  })
  assert.equal(accepted, 'ann accepted all images until 2026-02-03 04:05 UTC: A new app.')
})

test('fields with commas, quotes and line ends are quoted, missing ones are empty', () => {
  assert.equal(
    csvOf(
      ['a,b', 'c'],
      [
        [0.5, null],
        ['say "x"', 'two\nlines'],
      ],
    ),
    '"a,b",c\n0.5,\n"say ""x""","two\nlines"\n',
  )
})
