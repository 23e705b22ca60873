import assert from 'node:assert/strict'
import { test } from 'node:test'
import { colorOf, GRADIENT } from '../../nsfw_app/ui/assets/shared/colorScale.js'
import { cellsOf, describeMarked, outlineOf } from '../../nsfw_app/ui/assets/shared/heatGeometry.js'

const SIZE = { width: 300, height: 200 }

/** An explanation whose marked cells are those with an x. */
function drawn(...lines) {
  const marked = lines.map((line) => [...line].map((cell) => cell === 'x'))
  return { rows: lines.length, columns: lines[0].length, marked }
}

/** Lightness of a color of the scale: CIE L*. */
function lightness(color) {
  const [red, green, blue] = color.match(/\d+/g).map((channel) => {
    const value = Number(channel) / 255
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4
  })
  return 116 * Math.cbrt(0.2126 * red + 0.7152 * green + 0.0722 * blue) - 16
}

test('cells cover the image without gaps, of any shape', () => {
  const values = Array.from({ length: 7 }, () => Array.from({ length: 7 }, (_, at) => at / 6))
  const cells = cellsOf({ rows: 7, columns: 7, values }, SIZE)
  assert.equal(cells.length, 49)
  const area = cells.reduce((sum, { width, height }) => sum + width * height, 0)
  assert.ok(Math.abs(area - 300 * 200) < 1e-6)
  for (let at = 1; at < 7; at += 1) {
    assert.ok(Math.abs(cells[at - 1].x + cells[at - 1].width - cells[at].x) < 1e-9)
  }
  assert.ok(Math.abs(cells[48].x + cells[48].width - 300) < 1e-9)
  assert.ok(Math.abs(cells[48].y + cells[48].height - 200) < 1e-9)
})

test('what the model did not see has no cell', () => {
  const values = [
    [null, 0.5, null],
    [null, 0, null],
  ]
  const cells = cellsOf({ rows: 2, columns: 3, values }, SIZE)
  assert.deepEqual(cells, [
    { x: 100, y: 0, width: 100, height: 100, value: 0.5 },
    { x: 100, y: 100, width: 100, height: 100, value: 0 },
  ])
})

test('the outline runs around marked cells, and not between them', () => {
  const lines = (...cells) => outlineOf(drawn(...cells), SIZE).match(/M[^M]+/g)
  assert.deepEqual(lines('x..', '...'), ['M0 0H100', 'M0 0V100', 'M100 0V100', 'M0 100H100'])
  assert.equal(lines('xx.', 'xx.').length, 8)
  assert.equal(lines('xxx', 'xxx').length, 10)
  assert.equal(outlineOf(drawn('...', '...'), SIZE), '')
})

test('the marked area is described by its place and share', () => {
  const describe = (...lines) => describeMarked(drawn(...lines))
  assert.equal(
    describe('xx....', 'xx....', '......', '......', '......', '......'),
    'Marked area: upper left, 11 % of the image.',
  )
  assert.equal(describe('...', '.x.', '...'), 'Marked area: center, 11 % of the image.')
  assert.equal(describe('...', '...', 'xxx'), 'Marked area: lower part, 33 % of the image.')
  assert.equal(describe('..x', '..x', '..x'), 'Marked area: right side, 33 % of the image.')
  assert.equal(
    describe('.x.', '.x.', '.x.'),
    'Marked area: center, from top to bottom, 33 % of the image.',
  )
  assert.equal(
    describe('...', 'x..', '...'),
    'Marked area: left, at half height, 11 % of the image.',
  )
  assert.equal(
    describe('x.x', '...', 'x.x'),
    'Marked area: spread over the image, 44 % of the image.',
  )
  assert.equal(describe('..', '..'), 'No area is marked.')
})

test('cells that cross a third count where they lie', () => {
  assert.match(describeMarked(drawn('x...', 'x...', '....', '....')), /upper left/)
  assert.match(describeMarked(drawn('xxxxx', '.....', '.....', '.....', '.....')), /upper part/)
})

test('a lighter color always means more evidence, in equal steps', () => {
  const values = Array.from({ length: 101 }, (_, at) => lightness(colorOf(at / 100)))
  const steps = values.slice(1).map((value, at) => value - values[at])
  assert.ok(Math.min(...steps) > 0)
  assert.ok(Math.max(...steps) < 2 * (steps.reduce((a, b) => a + b) / steps.length))
})

test('values beyond the scale have the colors of its ends', () => {
  assert.equal(colorOf(-1), colorOf(0))
  assert.equal(colorOf(2), 'rgb(254 232 56)')
  assert.match(GRADIENT, /#00224e.*#fee838/)
})
