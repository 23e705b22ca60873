import assert from 'node:assert/strict'
import { test } from 'node:test'
import { makeAlarms } from '../../nsfw_app/ui/assets/insights/alarms.js'

/** Alarms of a server whose answers the test gives, at a time that it sets. */
function makeServer() {
  const asked = []
  const server = { asked, time: 0 }
  server.alarms = makeAlarms(
    () =>
      new Promise((resolve, fail) => {
        asked.push({ answer: (alarms) => resolve({ alarms }), fail })
      }),
    () => server.time,
  )
  return server
}

const settled = () => new Promise((resolve) => setTimeout(resolve))

test('every line shows an alarm as soon as any part of the page has received it', async () => {
  const { alarms, asked } = makeServer()
  const lines = [null, null]
  for (const at of [0, 1])
    alarms.current.subscribe((found) => {
      lines[at] = found[0] ?? ''
    })
  alarms.ask()
  asked[0].answer([])
  await settled()
  assert.deepEqual(lines, ['', ''])
  alarms.publish(['The scores differ.'])
  assert.deepEqual(lines, ['The scores differ.', 'The scores differ.'])
})

test('the server is asked again after seconds, not after a minute', async () => {
  const server = makeServer()
  server.alarms.ask()
  server.asked[0].answer([])
  await settled()
  server.time = 4_000
  server.alarms.ask()
  assert.equal(server.asked.length, 1)
  server.time = 6_000
  server.alarms.ask()
  server.asked[1].answer(['The scores differ.'])
  await settled()
  assert.deepEqual(server.alarms.current.value, ['The scores differ.'])
})

test('an answer from before a newer value is dropped', async () => {
  const { alarms, asked } = makeServer()
  alarms.ask()
  alarms.publish([]) // the images were accepted as the reference
  asked[0].answer(['The scores differ.'])
  await settled()
  assert.deepEqual(alarms.current.value, [])
  alarms.expire()
  alarms.ask()
  alarms.expire() // another policy
  alarms.ask()
  asked[2].answer([])
  asked[1].answer(['The scores differ.'])
  await settled()
  assert.deepEqual(alarms.current.value, [])
})

test('after a failure the next call asks', async () => {
  const { alarms, asked } = makeServer()
  alarms.ask()
  asked[0].fail(new Error('The server cannot be reached.'))
  await settled()
  alarms.ask()
  assert.equal(asked.length, 2)
})
