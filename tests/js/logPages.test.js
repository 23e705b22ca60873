import assert from 'node:assert/strict'
import { test } from 'node:test'
import { makePages } from '../../nsfw_app/ui/assets/log/pages.js'
import { EVERYTHING, isHash, queryOf } from '../../nsfw_app/ui/assets/log/query.js'

test('pages turn both ways and keep their place', () => {
  const pages = makePages()
  assert.deepEqual([pages.before, pages.isFirst, pages.firstNumber(101)], [null, true, 1])
  pages.older(52, 51)
  assert.deepEqual([pages.before, pages.firstNumber(101)], [52, 51])
  pages.older(2, 1)
  assert.equal(pages.firstNumber(102), 102) // a decision was added since
  pages.newer()
  assert.deepEqual([pages.before, pages.firstNumber(102)], [52, 52])
  pages.newer()
  pages.newer()
  assert.deepEqual([pages.before, pages.isFirst], [null, true])
})

test('rows that are not counted have no numbers to keep', () => {
  const pages = makePages()
  pages.older(7, null)
  assert.deepEqual([pages.before, pages.firstNumber(0)], [7, 1])
  pages.first()
  assert.equal(pages.isFirst, true)
})

test('a query has what the fields say', () => {
  assert.equal(String(queryOf(EVERYTHING)), '')
  const filter = {
    ...EVERYTHING,
    reviewer: 'ann & bob',
    decision: 'Disagreements in force',
    reason: 'art',
    since: '2026-02-28',
    until: '2026-02-28',
    search: '  beach ',
    sha256: ' ABCD ',
  }
  assert.deepEqual(Object.fromEntries(queryOf(filter)), {
    reviewer: 'ann & bob',
    reason: 'art',
    since: '2026-02-28',
    until: '2026-03-01',
    search: 'beach',
    sha256: 'ABCD',
    agrees: 'false',
    undone: 'false',
  })
  assert.equal(queryOf({ ...EVERYTHING, until: '9999-12-31' }).has('until'), false)
})

test('an incomplete hash is not searched for', () => {
  for (const text of ['', 'abc', 'ghij', 'a'.repeat(65)]) assert.equal(isHash(text), false)
  assert.equal(isHash('aBc0'), true)
  assert.equal(queryOf({ ...EVERYTHING, sha256: 'abc' }).has('sha256'), false)
})
