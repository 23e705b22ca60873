import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  conflictOf,
  DEFAULT_KEYMAP,
  keyOf,
  REASON_KEYS,
  SHORTCUTS,
  shortcutOf,
  validKeymap,
} from '../../nsfw_app/ui/assets/shared/keymap.js'

test('letters of other scripts are read by their place on the keyboard', () => {
  const russian = { key: 'ф', code: 'KeyA' }
  const greek = { key: 'χ', code: 'KeyX' }
  const capital = { key: 'Ф', code: 'KeyA' }
  assert.deepEqual([russian, greek, capital].map(keyOf), ['a', 'x', 'a'])
  assert.equal(keyOf({ key: 'Dead', code: 'KeyN' }), 'n')
})

test('Latin letters are read as printed, wherever they are', () => {
  assert.equal(keyOf({ key: 'a', code: 'KeyQ' }), 'a') // AZERTY
  assert.equal(keyOf({ key: 'é', code: 'Digit2' }), 'é')
  assert.equal(keyOf({ key: 'A', code: 'KeyA' }), 'a')
  assert.equal(keyOf({ key: '?', code: 'Digit7' }), '?')
  assert.equal(keyOf({ key: 'Backspace', code: 'Backspace' }), 'Backspace')
})

test('a key triggers its shortcut, and no longer once that was moved', () => {
  const moved = { ...DEFAULT_KEYMAP, a: 'j', undo: 'k' }
  assert.equal(shortcutOf(DEFAULT_KEYMAP, 'a'), 'a')
  assert.equal(shortcutOf(DEFAULT_KEYMAP, 'Backspace'), 'undo')
  assert.deepEqual(
    ['j', 'k', 'a', 'Backspace', 'ArrowLeft'].map((key) => shortcutOf(moved, key)),
    ['a', 'undo', null, null, 'ArrowLeft'],
  )
})

test('two shortcuts cannot have one key, and some keys keep their meaning', () => {
  assert.match(conflictOf(DEFAULT_KEYMAP, 'a', 'x'), /X is taken: Disagree/)
  assert.match(conflictOf(DEFAULT_KEYMAP, 'a', 'Enter'), /keeps its own meaning/)
  assert.match(conflictOf(DEFAULT_KEYMAP, 'a', 'ArrowLeft'), /keeps its own meaning/)
  assert.match(conflictOf(DEFAULT_KEYMAP, 'n', 's'), /chooses a reason/)
  assert.equal(conflictOf(DEFAULT_KEYMAP, 'a', 's'), null)
  assert.equal(conflictOf(DEFAULT_KEYMAP, 'a', 'a'), null)
  const moved = { ...DEFAULT_KEYMAP, x: 'j' }
  assert.equal(conflictOf(moved, 'a', 'x'), null)
})

test('a stored keymap with a conflict, or of another kind, is not used', () => {
  assert.equal(validKeymap({ a: 'j' }).a, 'j')
  assert.deepEqual(validKeymap({ ...DEFAULT_KEYMAP, a: 'x' }), DEFAULT_KEYMAP)
  assert.deepEqual(validKeymap({ a: 7, q: 'q' }), DEFAULT_KEYMAP)
  assert.deepEqual(validKeymap(null), DEFAULT_KEYMAP)
})

test('a shortcut that is newer than the stored keys gets a free key, and the chosen ones stay', () => {
  const { h: _, ...stored } = { ...DEFAULT_KEYMAP, a: 'h' }
  const keymap = validKeymap(stored)
  assert.equal(keymap.a, 'h')
  assert.equal(shortcutOf(keymap, keymap.h), 'h')
  assert.equal(conflictOf(keymap, 'h', keymap.h), null)
})

test('the keys of reasons differ from each other and from the keys that work in the form', () => {
  const keys = Object.values(REASON_KEYS)
  const inForm = SHORTCUTS.filter((shortcut) => shortcut.inForm).map(({ name }) => name)
  assert.equal(new Set([...keys, ...inForm]).size, keys.length + inForm.length)
})
