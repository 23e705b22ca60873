// The dialog with the caller's sessions, and for administrators everyone's sessions and API keys.
// Each can be ended there; the browser's own session ends with the button to sign out.

/** @import { ListedKey, ListedSession } from './server.js' */

import { askFirst } from './confirmation.js'
import { make } from './dom.js'
import { may } from './permissions.js'
import { accessKeys, accessSessions, endSession, messageOf, revokeKey, status } from './server.js'

const message = make('p', { role: 'status' })
const sessions = makeSection('sessions', 'Sessions', 'No other session.')
const keys = makeSection('keys', 'API keys', 'No API key.')
const heading = make('h2', { id: 'access-title', tabindex: '-1', autofocus: true })
const dialog = make(
  'dialog',
  { class: 'viewing access', 'aria-labelledby': heading.id },
  heading,
  sessions.element,
  keys.element,
  message,
  make('form', { method: 'dialog' }, make('button', { class: 'quiet' }, 'Close')),
)

/** Whether there is something to show: sessions of a signed-in user, or API keys. */
export const hasAccessDialog = () => status.value?.auth_action === 'sign_out' || may('manage')

/** Opens the dialog, and loads its lists. */
export async function openAccessDialog() {
  if (!dialog.isConnected) document.body.append(dialog)
  heading.textContent = may('manage') ? 'Sessions and API keys' : 'Your sessions'
  message.textContent = 'Loading...'
  keys.element.hidden = true
  dialog.showModal()
  await load('')
}

/**
 * Loads and draws both lists.
 *
 * @param {string} done What has just been done.
 */
async function load(done) {
  try {
    const [listed, listedKeys] = await Promise.all([
      accessSessions(),
      may('manage') ? accessKeys() : null,
    ])
    sessions.draw(listed.map(drawSession))
    keys.element.hidden = listedKeys === null
    keys.draw((listedKeys ?? []).map(drawKey))
    message.textContent = done
  } catch (error) {
    message.textContent = messageOf(error)
  }
}

/**
 * Runs a change, and shows the lists after it. The button that was pressed is gone then, so the
 * focus moves to the heading.
 *
 * @param {() => Promise<unknown>} change
 * @param {string} done
 */
async function apply(change, done) {
  try {
    await change()
  } catch (error) {
    message.textContent = messageOf(error)
    return
  }
  await load(done)
  heading.focus()
}

/** @param {ListedSession} session */
function drawSession({ id, name, created_at, last_seen_at, current, own }) {
  const since = `Signed in ${timeOf(created_at)}`
  const seen = last_seen_at === null ? '' : `, last seen ${timeOf(last_seen_at)}`
  const onclick = () => apply(() => endSession(id), `A session of ${name} has ended.`)
  return make(
    'li',
    {},
    make('b', { dir: 'auto' }, own && !may('manage') ? 'Session' : name),
    make('span', { class: 'muted' }, `${since}${seen}`),
    current
      ? make('span', { class: 'access-current' }, 'This browser')
      : make(
          'button',
          { type: 'button', onclick, 'aria-label': `End session of ${name}, ${since}` },
          'End',
        ),
  )
}

/** @param {ListedKey} key */
function drawKey({ name, scopes, expires_at, expired, last_used_at, webhook }) {
  const expiry = expires_at === null ? 'never expires' : `expires ${timeOf(expires_at)}`
  const use = last_used_at === null ? 'not used yet' : `last used ${timeOf(last_used_at)}`
  const onclick = () =>
    askFirst({
      title: `Revoke ${name}`,
      text:
        'Programs that send this key are refused at once. A revoked key cannot be restored, and ' +
        `its name is not used again.${webhook ? ' Undelivered messages to its webhook are dropped.' : ''}`,
      confirm: 'Revoke',
      onConfirm: () => apply(() => revokeKey(name), `The key ${name} is revoked.`),
      onClose: () => heading.focus(),
    })
  return make(
    'li',
    {},
    make('b', { dir: 'auto' }, name),
    make(
      'span',
      { class: 'muted' },
      `${scopes.join(', ')}; ${expired ? `expired ${timeOf(expires_at ?? '')}` : expiry}; ${use}`,
    ),
    make('button', { type: 'button', onclick, 'aria-label': `Revoke ${name}` }, 'Revoke'),
  )
}

/** @param {string} iso */
function timeOf(iso) {
  return new Date(iso).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' })
}

/**
 * A heading with a list, or with a sentence while the list is empty.
 *
 * @param {string} id
 * @param {string} title
 * @param {string} empty
 */
function makeSection(id, title, empty) {
  const list = make('ul', {})
  const none = make('p', { class: 'muted' }, empty)
  const element = make(
    'section',
    { 'aria-labelledby': `access-${id}` },
    make('h3', { id: `access-${id}` }, title),
    none,
    list,
  )
  return {
    element,
    /** @param {HTMLElement[]} items */
    draw(items) {
      list.replaceChildren(...items)
      list.hidden = !items.length
      none.hidden = Boolean(items.length)
    },
  }
}
