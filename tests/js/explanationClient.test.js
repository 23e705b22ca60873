import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import {
  cancelComputation,
  pollExplanation,
  startExplanation,
} from '../../nsfw_app/ui/assets/shared/explanationClient.js'

const FILE = new Blob(['pixels'])
const IMAGE = { name: 'a b.jpg', sha256: 'abc', model: 'm', revision: 'r', backend: 'torch' }
const NO_PIXELS = [409, { error: { kind: 'no_pixels', message: 'No preview is kept.' } }]
const DONE = { status: 'done', id: '' }

/** What was requested: method, path and query below /desk, body. */
let asked = []
/** The answers to come: status, JSON, headers. */
let answers = []

globalThis.fetch = async (url, { method = 'GET', body } = {}) => {
  asked.push([method, `${url}`.split(/\/ui\/|\/desk\//).at(-1), body])
  const [status, json, headers] = answers.shift()
  return new Response(JSON.stringify(json), { status, headers })
}

beforeEach(() => {
  asked = []
  answers = []
})

test('the kept preview is explained, by the names of the model', async () => {
  answers = [[200, DONE]]
  assert.deepEqual(await startExplanation({ ...IMAGE, kept: true, file: FILE }), DONE)
  assert.equal(asked.length, 1)
  const [method, path, body] = asked[0]
  assert.deepEqual([method, path], ['POST', 'images/abc/explanation'])
  assert.deepEqual(JSON.parse(body), { model: 'm', revision: 'r', backend: 'torch' })
})

test('without a preview the file is sent, also where it was deleted since', async () => {
  const query = 'model=m&revision=r&backend=torch&name=a+b.jpg'
  const sent = ['POST', `images/abc/explanation?${query}`, FILE]
  answers = [[200, DONE]]
  await startExplanation({ ...IMAGE, kept: false, file: FILE })
  assert.deepEqual(asked, [sent])
  answers = [NO_PIXELS, [200, DONE]]
  await startExplanation({ ...IMAGE, kept: true, file: FILE })
  assert.deepEqual(asked.at(-1), sent)
})

test('without preview and file the reason is thrown', async () => {
  answers = [NO_PIXELS]
  await assert.rejects(startExplanation({ ...IMAGE, kept: true }), {
    message: 'No preview is kept.',
  })
})

test('a busy server is asked again', async () => {
  answers = [
    [429, { error: { kind: 'overloaded' } }, { 'retry-after': '0.01' }],
    [200, DONE],
  ]
  assert.deepEqual(await pollExplanation('7/8'), DONE)
  assert.deepEqual(asked.at(-1).slice(0, 2), ['GET', 'explanations/7%2F8'])
})

test('a busy server is not asked again for an explanation that was closed', async () => {
  answers = [
    [429, { error: { kind: 'overloaded', message: 'Busy.' } }, { 'retry-after': '0.01' }],
    [200, DONE],
  ]
  await assert.rejects(
    startExplanation(IMAGE, () => false),
    { message: 'Busy.' },
  )
  assert.equal(asked.length, 1)
})

test('cancelling never fails', async () => {
  answers = [[404, { error: { kind: 'not_found' } }]]
  await cancelComputation('7')
  await cancelComputation('7') // no answer at all
  assert.deepEqual(asked[0].slice(0, 2), ['DELETE', 'explanations/7'])
})
