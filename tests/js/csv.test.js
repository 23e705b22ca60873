import assert from 'node:assert/strict'
import test from 'node:test'
import { csvOf } from '../../nsfw_app/ui/assets/insights/csv.js'

test('fields with separators, quotes and line ends are quoted', () => {
  assert.equal(csvOf(['a,b'], [['say "x"'], ['1\r2']]), '"a,b"\n"say ""x"""\n"1\r2"\n')
})

test('text that a spreadsheet would run gets an apostrophe, numbers do not', () => {
  const rows = [['=cmd|x'], [' +1'], ['@a'], ['-1'], [-1], [null]]
  assert.equal(csvOf(['source'], rows), "source\n'=cmd|x\n' +1\n'@a\n'-1\n-1\n\n")
})
