import assert from 'node:assert/strict'
import { test } from 'node:test'
import { makeLatestAnswer } from '../../nsfw_app/ui/assets/insights/latestAnswer.js'

/** A server whose answers the test gives, and what a page shows of them. */
function makePage() {
  const asked = []
  const page = { shown: null, state: null }
  const latest = makeLatestAnswer({
    ask: (query) =>
      new Promise((answer, fail) => {
        asked.push({ query, answer, fail })
      }),
    show: (answer, query) => {
      page.shown = answer
      return query === 'days=30' ? 'days=30&model=m' : undefined
    },
    mark: (state) => {
      page.state = state
    },
  })
  return { asked, page, latest }
}

const settled = () => new Promise((resolve) => setTimeout(resolve))
const COUNTING = { waiting: true, other: true, error: null }
const REFRESHING = { waiting: true, other: false, error: null }
const DONE = { waiting: false, other: false, error: null }

test('numbers of another selection are marked from the change of a filter to the answer', async () => {
  const { asked, page, latest } = makePage()
  latest.load('days=7')
  assert.deepEqual(page.state, COUNTING)
  asked[0].answer(7)
  await settled()
  assert.deepEqual([page.shown, page.state], [7, DONE])
  latest.load('days=90')
  assert.deepEqual(page.state, COUNTING)
  latest.load('days=7')
  assert.deepEqual(page.state, REFRESHING, 'what is shown is of this selection')
})

test('a slow earlier answer, or its failure, does not replace a later one', async () => {
  const { asked, page, latest } = makePage()
  for (const query of ['days=7', 'days=90', 'days=365']) latest.load(query)
  asked[2].answer(365)
  await settled()
  asked[0].answer(7)
  asked[1].fail(new Error('late'))
  await settled()
  assert.deepEqual([page.shown, page.state], [365, DONE])
})

test('a failure is marked, and the same can be asked again', async () => {
  const { asked, page, latest } = makePage()
  latest.load('days=7')
  asked[0].answer(7)
  await settled()
  latest.load('days=90')
  const error = new Error('The server cannot be reached.')
  asked[1].fail(error)
  await settled()
  assert.deepEqual([page.shown, page.state], [7, { waiting: false, other: true, error }])
  latest.again()
  assert.deepEqual([asked[2].query, page.state], ['days=90', COUNTING])
  asked[2].answer(90)
  await settled()
  assert.deepEqual([page.shown, page.state], [90, DONE])
})

test('a query that an answer completes is the same selection', async () => {
  const { asked, page, latest } = makePage()
  latest.load('days=30')
  asked[0].answer(30)
  await settled()
  latest.load('days=30&model=m')
  assert.deepEqual(page.state, REFRESHING)
})
