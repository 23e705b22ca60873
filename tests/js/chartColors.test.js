import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { KEYS } from '../../nsfw_app/ui/assets/insights/chartKeys.js'

const TOKENS = readFileSync(
  new URL('../../nsfw_app/ui/assets/shared/tokens.css', import.meta.url),
  'utf8',
)
/** Linear RGB as seen without one kind of cone (Machado, Oliveira and Fernandes 2009, severity 1). */
const VISIONS = {
  trichromacy: [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
  ],
  protanopia: [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
  ],
  deuteranopia: [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
  ],
  tritanopia: [
    [1.255528, -0.076749, -0.178779],
    [-0.078411, 0.930809, 0.147602],
    [0.004733, 0.691367, 0.3039],
  ],
}
const LEAST_DIFFERENCE = 20 // of two series, CIE 1976; 2 to 3 can just be seen next to each other
const LEAST_CONTRAST = 3 // of a series with the surface, WCAG 2.2, 1.4.11
const WHITE = [0.9505, 1, 1.089] // D65

/** Colors of a theme by token. The dark one replaces some of the light one. */
function themeOf(name) {
  const block = (selector) => TOKENS.split(`${selector} {`)[1].split('}')[0]
  const text = name === 'dark' ? block(':root') + block('.dark') : block(':root')
  return Object.fromEntries(
    [...text.matchAll(/--([\w-]+): (#[0-9a-f]{6});/g)].map(([, token, color]) => [token, color]),
  )
}

const linear = (color) =>
  [1, 3, 5].map((at) => {
    const value = Number.parseInt(color.slice(at, at + 2), 16) / 255
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4
  })

const times = (matrix, vector) =>
  matrix.map((row) => row.reduce((sum, factor, at) => sum + factor * vector[at], 0))

const luminance = (color) => times([[0.2126, 0.7152, 0.0722]], linear(color))[0]

function contrast(one, other) {
  const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b)
  return (high + 0.05) / (low + 0.05)
}

/** CIE Lab of linear RGB. */
function lab(rgb) {
  const xyz = times(
    [
      [0.4124, 0.3576, 0.1805],
      [0.2126, 0.7152, 0.0722],
      [0.0193, 0.1192, 0.9505],
    ],
    rgb.map((value) => Math.min(1, Math.max(0, value))),
  )
  const [x, y, z] = xyz.map((value, at) => {
    const part = value / WHITE[at]
    return part > (6 / 29) ** 3 ? Math.cbrt(part) : part / (3 * (6 / 29) ** 2) + 4 / 29
  })
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)]
}

function difference(one, other, vision) {
  const [a, b] = [one, other].map((color) => lab(times(VISIONS[vision], linear(color))))
  return Math.hypot(...a.map((value, at) => value - b[at]))
}

const pairs = (list) => list.flatMap((one, at) => list.slice(at + 1).map((other) => [one, other]))

/** What is wrong with the series of a chart in a theme. */
function faults(keys, theme) {
  const found = []
  for (const { name, token } of keys)
    if (contrast(theme[token], theme.surface) < LEAST_CONTRAST) found.push(`${name}: too faint`)
  for (const [one, other] of pairs(keys)) {
    if (one.line === other.line) found.push(`${one.name}, ${other.name}: the same line`)
    if (one.token === other.token) continue // a line with its own band
    for (const vision of Object.keys(VISIONS)) {
      const found_difference = difference(theme[one.token], theme[other.token], vision)
      if (found_difference < LEAST_DIFFERENCE)
        found.push(`${one.name}, ${other.name}: ${found_difference.toFixed(1)} in ${vision}`)
    }
  }
  return found
}

for (const name of ['light', 'dark'])
  test(`series of each chart differ by color in every color vision, and by line: ${name}`, () => {
    const theme = themeOf(name)
    for (const [chart, keys] of Object.entries(KEYS))
      assert.deepEqual(faults(keys, theme), [], chart)
  })

test('red and green of one lightness, a faint color and equal lines are found', () => {
  const theme = { surface: '#ffffff', red: '#c85a3c', green: '#8c7a2e', pale: '#e0e0e0' }
  const key = (token, line) => ({ name: token, token, line })
  assert.match(
    faults([key('red', 'solid'), key('green', 'dashed')], theme).join(),
    /^red, green: \d+\.\d in (prot|deuter)anopia/,
  )
  assert.deepEqual(faults([key('pale', 'solid')], theme), ['pale: too faint'])
  assert.match(faults([key('red', 'solid'), key('green', 'solid')], theme)[0], /the same line/)
})
