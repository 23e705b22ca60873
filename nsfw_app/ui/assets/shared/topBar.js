// The bar on top and the banner below it: which model runs, under which policy, for whom.

import { make, present } from './dom.js'
import { watchForPause } from './pauseReminder.js'
import { makeAuthAction } from './permissions.js'
import { togglePolicyText } from './policyDialog.js'
import { onTally } from './revealCounter.js'
import { onStatus, refreshStatus, watchStatus } from './server.js'
import { openViewing } from './viewingDialog.js'

/**
 * Builds bar and banner. Once the model is there, it asks the server's side of the page to move the
 * sliders to its policy.
 */
export async function mount(root, trigger) {
  const banner = await present('model-banner')
  const text = make('p', { role: 'status' })
  banner.replaceChildren(text)
  const facts = make('span', { class: 'topbar-facts' })
  const revealed = make('span', { id: 'revealed-today' })
  const quiet = (onclick, ...words) =>
    make('button', { type: 'button', class: 'quiet', onclick }, ...words)
  const policyButton = quiet(togglePolicyText, 'Policy text', make('kbd', {}, 'P'))
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
        quiet(openViewing, 'Viewing'),
        policyButton,
        makeAuthAction(),
      ),
    ),
  )
  onTally((count) => {
    revealed.textContent = count
  })
  watchForPause()
  let moved = false
  onStatus((status) => {
    const name = status.model?.model ?? status.wanted
    const { version, threshold, review_from: from, review_to: to } = status.policy
    const band = `${threshold.toFixed(2)}, review ${from.toFixed(2)} to ${to.toFixed(2)}`
    facts.replaceChildren(
      fact('Model', make('span', { class: `state ${status.state}` }, `${name}, ${status.state}`)),
      fact('Policy', `version ${version}: ${band}`),
      fact('Reviewer', status.reviewer),
    )
    policyButton.hidden = !status.policy_text
    banner.dataset.state = status.state
    banner.classList.toggle('fallback', status.state === 'ready' && Boolean(status.message))
    text.replaceChildren(...sentence(status))
    if (status.state === 'ready' && !moved) {
      moved = true
      trigger('ready')
    }
  })
  document.addEventListener('policy:saved', refreshStatus)
  watchStatus()
}

function fact(name, value) {
  return make('span', { class: 'fact' }, make('span', { class: 'muted' }, name), value)
}

function sentence({ state, wanted, message, model }) {
  if (state === 'loading')
    return ['The model is loading. Images can be added as soon as it is ready.']
  if (state === 'failed') return [`No model is running, so nothing can be judged. ${message}`]
  const running = [
    'Running ',
    make('b', {}, model.model),
    ` (revision ${model.revision.slice(0, 12)}, ${model.backend}).`,
  ]
  if (!message) return running
  const instead = wanted === 'auto' ? ' It is the embedded model, used because ' : ' '
  return [...running, instead + message]
}
