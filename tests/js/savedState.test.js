import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  describeFailure,
  describeSaved,
  describeTime,
} from '../../nsfw_app/ui/assets/shared/savedState.js'

const moment = '2026-03-04T12:03:00.000Z'
const today = new Date('2026-03-04T13:00:00.000Z')
const tomorrow = new Date('2026-03-06T13:00:00.000Z')
const working = {
  target: 'org/name',
  last_success_at: moment,
  error: null,
  pending: 0,
  maintenance_error: null,
  replaced: false,
}
const failing = { ...working, error: 'The hub cannot be reached.', pending: 3 }

test('the bar says when everything was saved, with the date where that is another day', () => {
  const time = new Date(moment).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })
  assert.equal(describeSaved(working, today), time)
  assert.equal(describeTime(moment, tomorrow), `${new Date(moment).toLocaleDateString()} ${time}`)
  assert.equal(describeSaved({ ...working, last_success_at: null }, today), 'not yet')
})

test('a failure names the repository, since when, and the reason; nothing is said while it works', () => {
  assert.equal(describeFailure(working, today), '')
  assert.equal(describeFailure(null, today), '')
  const time = describeTime(moment, today)
  assert.equal(describeSaved(failing, today), 'failing')
  assert.equal(
    describeFailure(failing, today),
    `Nothing was saved in org/name since ${time}; changes wait on this server. The hub cannot be reached.`,
  )
  const never = { ...failing, last_success_at: null }
  assert.match(describeFailure(never, today), /^Nothing was saved in org\/name yet; /)
})

test('a server that was replaced says so, and not that nothing was saved', () => {
  const replaced = { ...failing, error: 'Another server was restored.', replaced: true }
  assert.equal(describeSaved(replaced, today), 'failing')
  assert.equal(describeFailure(replaced, today), 'Another server was restored.')
})

test('a failed roll-up does not say that nothing was saved', () => {
  const unkempt = { ...working, maintenance_error: 'It is tried again.' }
  assert.equal(describeSaved(unkempt, today), describeSaved(working, today))
  const sentence = 'All is saved in org/name. Its files were not rolled up. It is tried again.'
  assert.equal(describeFailure(unkempt, today), sentence)
  assert.match(
    describeFailure({ ...unkempt, error: 'No hub.' }, today),
    /^Nothing was saved .* No hub\.$/,
  )
})
