// The bar at the top and the banner below it: model, policy, reviewer, tools.

/** @import { Status } from './server.js' */

import { make, regionOf } from './dom.js'
import { startPauseReminder } from './pauseReminder.js'
import { connectPolicyText, policyDialog } from './policyDialog.js'
import { revealedToday } from './revealCounter.js'
import { refreshStatus, signOut, status, watchStatus } from './server.js'
import { openViewingDialog } from './viewingDialog.js'

/**
 * Builds bar and banner.
 *
 * - Triggers `ready` once the model is ready: Python then sets the sliders to its policy.
 * - Triggers `policy_text` when the policy text is opened for the first time.
 * - Its value is the version of the policy saved last; the status is fetched again when it changes.
 *
 * @param {HTMLElement} root
 * @param {{ trigger: (event: string) => void, watch: (name: string, listener: () => void) => void }} component
 */
export async function mount(root, { trigger, watch }) {
  const banner = await regionOf('model-banner')
  const message = make('p', { role: 'status' })
  banner.replaceChildren(message)
  const facts = make('span', { class: 'topbar-facts' })
  const revealed = make('span', { id: 'revealed-today' })
  const policyButton = quietButton(policyDialog.toggle, 'Policy text', make('kbd', {}, 'P'))
  policyButton.hidden = true
  root.replaceChildren(
    make(
      'header',
      { class: 'topbar' },
      make('h1', {}, 'NSFW Review'),
      facts,
      fact('Revealed today', revealed),
      make(
        'span',
        { class: 'topbar-tools' },
        quietButton(openViewingDialog, 'Viewing'),
        policyButton,
        makeAuthAction(),
      ),
    ),
  )
  revealedToday.subscribe((count) => {
    revealed.textContent = String(count)
  })
  startPauseReminder()
  connectPolicyText(() => trigger('policy_text'))
  let ready = false
  status.subscribe((now) => {
    const { version, threshold, review_from: from, review_to: to } = now.policy
    const band = `${threshold.toFixed(2)}, review ${from.toFixed(2)} to ${to.toFixed(2)}`
    const name = now.model?.model ?? now.wanted
    facts.replaceChildren(
      fact('Model', make('span', { class: `state ${now.state}` }, `${name}, ${now.state}`)),
      fact('Policy', `version ${version}: ${band}`),
      fact('Reviewer', now.reviewer),
    )
    policyButton.hidden = !now.policy_text
    banner.dataset.state = now.state
    banner.classList.toggle('fallback', now.state === 'ready' && Boolean(now.message))
    message.replaceChildren(...describeModel(now))
    if (now.state === 'ready' && !ready) {
      ready = true
      trigger('ready')
    }
  })
  watch('value', refreshStatus)
  watchStatus()
}

/**
 * @param {() => unknown} onclick
 * @param {...(Node | string)} words
 */
function quietButton(onclick, ...words) {
  return make('button', { type: 'button', class: 'quiet', onclick }, ...words)
}

/**
 * @param {string} name
 * @param {Node | string} value
 */
function fact(name, value) {
  return make('span', { class: 'fact' }, make('span', { class: 'muted' }, name), value)
}

/** The link to sign in or the button to sign out; empty without users. */
function makeAuthAction() {
  const element = make('span', { class: 'auth-action' })
  /** @type {Status['auth_action']} */
  let drawn = null
  status.subscribe(({ auth_action: action }) => {
    if (action === drawn) return
    drawn = action
    if (action === 'sign_in') {
      element.replaceChildren(make('a', { class: 'button', href: 'login' }, 'Sign in'))
    } else if (action === 'sign_out') {
      element.replaceChildren(quietButton(signOut, 'Sign out'))
    } else {
      element.replaceChildren()
    }
  })
  return element
}

/**
 * @param {Status} status
 * @returns {(Node | string)[]}
 */
function describeModel({ state, wanted, message, model }) {
  if (state === 'loading') return ['The model is loading. You can add images once it is ready.']
  if (state === 'failed' || !model)
    return [`No model is running, so images cannot be classified. ${message}`]
  const running = [
    'Running ',
    make('b', {}, model.model),
    ` (revision ${model.revision.slice(0, 12)}, ${model.backend}).`,
  ]
  if (!message) return running
  const fallback = wanted === 'auto' ? ' It is the embedded model, used because ' : ' '
  return [...running, fallback + message]
}
