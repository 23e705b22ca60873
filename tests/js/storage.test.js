import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { recall, remember } from '../../nsfw_app/ui/assets/shared/storage.js'

afterEach(() => {
  delete globalThis.localStorage
})

/** @param {Record<string, string>} items */
function install(items) {
  Object.defineProperty(globalThis, 'localStorage', {
    configurable: true,
    value: {
      getItem: (key) => items[key] ?? null,
      setItem: (key, value) => {
        items[key] = value
      },
    },
  })
}

test('values are stored per name and reviewer', () => {
  const items = {}
  install(items)
  remember('viewing', 'ada', { blurPx: 20 })
  assert.deepEqual(items, { 'nsfw-review:viewing:ada': '{"blurPx":20}' })
  assert.deepEqual(recall('viewing', 'ada'), { blurPx: 20 })
  assert.equal(recall('viewing', 'grace'), null)
})

test('without localStorage a value lasts for the visit', () => {
  remember('revealed', 'bob', { count: 3 })
  assert.deepEqual(recall('revealed', 'bob'), { count: 3 })
})

test('invalid JSON is no value', () => {
  install({ 'nsfw-review:viewing:eve': 'no JSON' })
  assert.equal(recall('viewing', 'eve'), null)
})
