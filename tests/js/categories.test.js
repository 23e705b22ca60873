import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { EVERYTHING, queryOf } from '../../nsfw_app/ui/assets/log/query.js'
import {
  CATEGORY_WORDS,
  categoriesText,
  categoryWords,
  highestRuled,
  judgedCategories,
  shownCategories,
} from '../../nsfw_app/ui/assets/shared/categories.js'
import {
  CATEGORY_KEYS,
  conflictOf,
  DEFAULT_KEYMAP,
} from '../../nsfw_app/ui/assets/shared/keymap.js'

const POLICY = {
  threshold: 0.5,
  review_from: 0.2,
  review_to: 0.8,
  category_rules: [
    { category: 'nudity', threshold: 0.3, action: 'review' },
    { category: 'gore_or_violence', threshold: 0.8, action: 'block' },
  ],
}
const image = (categories) => ({ nsfw_score: 0.4, categories })
const names = CATEGORY_WORDS.map(([name]) => name)

test('the categories are those of nsfw_app/records.py, in its order', () => {
  const records = readFileSync(new URL('../../nsfw_app/records.py', import.meta.url), 'utf8')
  const [, body] = /class Category\(StrEnum\):([\s\S]*?)\nclass /.exec(records) ?? []
  assert.deepEqual(
    [...body.matchAll(/^ {4}[A-Z_]+ = "([a-z_]+)"$/gm)].map(([, name]) => name),
    names,
  )
})

test('only judged categories are listed, each with its rule', () => {
  const judged = judgedCategories(image({ gore_or_violence: 0.1, drawing: 0 }), POLICY)
  assert.deepEqual(
    judged.map(({ category, probability, rule }) => [category, probability, rule?.action]),
    [
      ['drawing', 0, undefined],
      ['gore_or_violence', 0.1, 'block'],
    ],
  )
  assert.deepEqual(judgedCategories(image(null), POLICY), [])
  assert.deepEqual(judgedCategories(null, POLICY), [])
})

test('an image shows the categories from their rule upwards, from 0.5 without a rule', () => {
  const shown = (categories) => shownCategories(image(categories), POLICY)
  assert.deepEqual(shown({ nudity: 0.3, gore_or_violence: 0.79, other: 0.5, self_harm: 0.49 }), [
    'nudity',
    'other',
  ])
  assert.deepEqual(shown(null), [])
})

test('a card names the most probable category that reaches its rule', () => {
  const highest = (categories) => highestRuled(image(categories), POLICY)?.category
  assert.equal(highest({ nudity: 0.85, gore_or_violence: 0.9, other: 1 }), 'gore_or_violence')
  assert.equal(highest({ nudity: 0.4, gore_or_violence: 0.7 }), 'nudity')
  assert.equal(highest({ other: 1 }), undefined)
})

test('judged categories are a phrase, and so are named ones', () => {
  assert.equal(
    categoriesText(image({ gore_or_violence: 0.25, nudity: 0.5 })),
    'Nudity 0.500; Gore or violence 0.250',
  )
  assert.equal(categoriesText(image(null)), '')
  assert.equal(categoryWords(['sexual_explicit', 'other']), 'Sexual, explicit; Other')
})

test('each category has a key of its own, which no shortcut of the form can take', () => {
  assert.deepEqual(Object.keys(CATEGORY_KEYS), names)
  assert.equal(new Set(Object.values(CATEGORY_KEYS)).size, names.length)
  for (const key of Object.values(CATEGORY_KEYS)) {
    assert.match(conflictOf(DEFAULT_KEYMAP, 'n', key) ?? '', /chooses a category/)
    assert.equal(conflictOf(DEFAULT_KEYMAP, 'a', key), null)
  }
})

test('the log is filtered by category', () => {
  assert.equal(String(queryOf({ ...EVERYTHING, category: 'self_harm' })), 'category=self_harm')
})
