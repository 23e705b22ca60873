// The bar at the top and the banner below it: connection, unsaved decisions, model, policy,
// reviewer, blur, tools.

/** @import { Status } from './server.js' */

import { hasAccessDialog, openAccessDialog } from './accessDialog.js'
import { startBlurLimit } from './blurLimit.js'
import { categoryWord } from './categories.js'
import { connection, heartbeat, startHeartbeat } from './connection.js'
import { make, regionOf } from './dom.js'
import { notify, startNotices } from './notices.js'
import { startPauseReminder } from './pauseReminder.js'
import { connectPolicyText, policyDialog } from './policyDialog.js'
import { blurred, toggleBlur } from './preview.js'
import { revealedToday } from './revealCounter.js'
import { describeFailure, describeSaved } from './savedState.js'
import { refreshStatus, signOut, status, unsavedDecisions, watchStatus } from './server.js'
import { countOf } from './unsavedDecisions.js'
import { makeUnsavedList, unsaved } from './unsavedList.js'
import { openViewingDialog } from './viewingDialog.js'

/**
 * Builds bar and banner.
 *
 * - Triggers `ready` once the model is ready and after each change of the policy: Python then sets
 *   the sliders to it.
 * - Triggers `policy_text` when the policy text is opened for the first time.
 * - Its value is the version of the policy that this page saved last.
 *
 * @param {HTMLElement} root
 * @param {{ props: { value: number | null }, trigger: (event: string) => void, watch: (name: string, listener: () => void) => void }} component
 */
export async function mount(root, { props, trigger, watch }) {
  const banner = await regionOf('model-banner')
  const message = make('p', { role: 'status' })
  const failure = make('p', { id: 'hub-sync-failure', role: 'status' })
  banner.replaceChildren(message, failure)
  const facts = make('span', { class: 'topbar-facts' })
  const saved = make('span', { id: 'hub-sync' })
  const revealed = make('span', { id: 'revealed-today' })
  const policyButton = quietButton(policyDialog.toggle, 'Policy text', make('kbd', {}, 'P'))
  policyButton.hidden = true
  const more = make(
    'div',
    { id: 'topbar-more', class: 'topbar-more' },
    facts,
    fact('Reviewer', makeReviewer()),
    saved,
    fact('Revealed today', revealed),
    make(
      'span',
      { class: 'topbar-tools' },
      quietButton(openViewingDialog, 'Viewing'),
      policyButton,
      makeAuthAction(),
    ),
  )
  root.replaceChildren(
    make(
      'header',
      { class: 'topbar' },
      make('h1', {}, 'NSFW Review'),
      makeUnsavedButton(),
      makeConnection(),
      makeBlurButton(),
      more,
      makeMenuButton(more),
    ),
  )
  revealedToday.subscribe((count) => {
    revealed.textContent = String(count)
  })
  startNotices()
  startPauseReminder()
  startBlurLimit()
  startHeartbeat()
  connectPolicyText(() => trigger('policy_text'))

  function draw() {
    const now = status.value
    if (!now) return
    const online = connection.value === 'online'
    const { version } = now.policy
    const state = online ? now.state : 'unknown'
    const words = `${now.model?.model ?? now.wanted}, ${online ? state : 'state unknown'}`
    facts.replaceChildren(
      fact(
        'Model',
        make('span', { id: 'model-state', class: `state ${state}`, 'data-state': state }, words),
      ),
      fact('Policy', `version ${version}: ${describePolicy(now)}`),
    )
    facts.title = describeRules(now)
    policyButton.hidden = !now.policy_text
    banner.dataset.state = now.detail?.state === 'failed' ? 'failed' : now.state
    const problem = describeProblem(now)
    message.replaceChildren(problem)
    showBanner()
  }

  function drawSaved() {
    const state = heartbeat.value?.saved
    const today = new Date()
    saved.replaceChildren(state ? fact('Saved', describeSaved(state, today)) : '')
    saved.title = state ? `In ${state.target}` : ''
    saved.dataset.state = state?.error ? 'failing' : 'working'
    const sentence = describeFailure(state, today)
    if (failure.textContent === sentence) return
    failure.replaceChildren(sentence) // only then: screen readers announce each change
    showBanner()
  }

  function showBanner() {
    banner.classList.toggle('shown', Boolean(message.textContent || failure.textContent))
  }

  status.subscribe((now, previous) => {
    draw()
    if (now.state !== 'ready') return
    const wasReady = previous !== now && previous?.state === 'ready'
    const changed = previous?.policy.version !== now.policy.version
    if (!wasReady || changed) trigger('ready')
    if (wasReady && changed && Number(props.value) !== now.policy.version)
      notify(
        'policy',
        `The policy has changed to version ${now.policy.version}: ${describePolicy(now)}. ` +
          describeRules(now) +
          'All verdicts on the page follow it.',
      )
  })
  connection.subscribe(draw)
  heartbeat.subscribe(drawSaved)
  watch('value', () => refreshStatus().catch(() => null))
  watchStatus()
}

/** @param {Status} status */
function describePolicy({ policy }) {
  const { threshold, review_from: from, review_to: to, category_rules: rules = [] } = policy
  const numbers = `${threshold.toFixed(2)}, review ${from.toFixed(2)} to ${to.toFixed(2)}`
  if (!rules.length) return numbers
  return `${numbers}, ${rules.length} category ${rules.length === 1 ? 'rule' : 'rules'}`
}

/** The rules of categories, as a sentence; empty without any. @param {Status} status */
function describeRules({ policy: { category_rules: rules = [] } }) {
  const words = rules.map(
    ({ category, threshold, action }) =>
      `${categoryWord(category)}: ${action} from ${threshold.toFixed(2)}`,
  )
  return words.length ? `${words.join('; ')}. ` : ''
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

/** Whether the server responds. */
function makeConnection() {
  const element = make('span', { id: 'connection', role: 'status' })
  connection.subscribe((state) => {
    element.dataset.state = state
    element.textContent = state === 'online' ? 'Online' : 'Offline'
  })
  return element
}

/** The number of decisions that are not saved, which opens their list. */
function makeUnsavedButton() {
  const list = makeUnsavedList()
  const explanation = make('p', { class: 'muted' })
  const dialog = make(
    'dialog',
    { class: 'viewing unsaved-dialog', 'aria-labelledby': 'unsaved-title' },
    make('h2', { id: 'unsaved-title' }, 'Decisions that are not saved'),
    explanation,
    list.element,
    make('form', { method: 'dialog' }, make('button', { class: 'quiet' }, 'Close')),
  )
  const button = make('button', { id: 'unsaved', type: 'button', onclick: () => open() })
  function open() {
    if (!dialog.isConnected) document.body.append(dialog)
    dialog.showModal()
  }
  unsaved.subscribe((items) => {
    const count = countOf(items)
    button.dataset.count = String(count)
    button.hidden = count === 0
    button.textContent = `${count} not saved`
    explanation.textContent = items.some(({ state }) => state === 'waiting')
      ? 'They are kept in this browser and sent again by themselves once the server responds.'
      : ''
    if (count === 0) dialog.close()
  })
  window.addEventListener('beforeunload', (event) => {
    if (unsavedDecisions.items.value.length) event.preventDefault()
  })
  return button
}

/** Blur on or off for all images; off is conspicuous. */
function makeBlurButton() {
  const word = make('span', {})
  const button = make(
    'button',
    { id: 'blur', type: 'button', onclick: toggleBlur },
    word,
    make('kbd', {}, 'B'),
  )
  blurred.subscribe((on) => {
    button.dataset.state = on ? 'on' : 'off'
    button.title = on ? 'Reveal all images' : 'Blur all images'
    word.textContent = on ? 'Blur on' : 'Blur off'
  })
  return button
}

/**
 * The button that opens facts and tools where they do not fit next to the title.
 *
 * @param {HTMLElement} more
 */
function makeMenuButton(more) {
  const button = make(
    'button',
    {
      type: 'button',
      class: 'quiet topbar-menu',
      'aria-expanded': 'false',
      'aria-controls': more.id,
      onclick: () => setOpen(button.getAttribute('aria-expanded') !== 'true'),
    },
    'Menu',
  )
  /** @param {boolean} open */
  function setOpen(open) {
    button.setAttribute('aria-expanded', String(open))
    more.classList.toggle('open', open)
  }
  document.addEventListener('pointerdown', ({ target }) => {
    if (target instanceof Node && !more.contains(target) && !button.contains(target)) setOpen(false)
  })
  more.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape') return
    setOpen(false)
    button.focus()
  })
  return button
}

/** The caller's name; for a signed-in user, or an administrator, the button of their sessions. */
function makeReviewer() {
  const element = make('span', {})
  const name = make('span', { dir: 'auto' })
  const button = quietButton(openAccessDialog)
  button.id = 'access'
  button.title = 'Sessions and API keys'
  status.subscribe(({ reviewer }) => {
    name.textContent = reviewer
    const shown = hasAccessDialog() ? button : element
    if (name.parentElement !== shown) shown.append(name)
    if (shown === button && !button.isConnected) element.replaceChildren(button)
    if (shown === element) button.remove()
  })
  return element
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
 * What is wrong with a model, or that it is a fallback; empty if nothing is.
 *
 * @param {Status} now
 */
function describeProblem(now) {
  return [describeModel(now), describeDetail(now)].filter(Boolean).join(' ')
}

/** @param {Status} status */
function describeDetail({ detail }) {
  if (detail?.state !== 'failed') return ''
  const when = detail.when === 'always' ? 'All images' : 'Images that the score does not allow'
  return `The detail model ${detail.model} does not run: ${detail.message} ${when} need a reviewer until it does, and have no categories.`
}

/** @param {Status} status */
function describeModel({ state, wanted, message, model }) {
  if (state === 'loading') return ''
  if (state === 'failed' || !model)
    return `No model is running, so images cannot be classified. ${message}`
  if (!message) return ''
  const running = `Running ${model.model} (revision ${model.revision.slice(0, 12)}, ${model.backend}).`
  const fallback = wanted === 'auto' ? 'It is the embedded model, used because ' : ''
  return `${running} ${fallback}${message}`
}
