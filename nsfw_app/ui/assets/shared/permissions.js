// What this person may do, as the server says. It decides; here only what makes no sense is hidden.

import { make } from './dom.js'
import { onStatus, signOut } from './server.js'

let granted = []

/** Whether the server would let this person do that: review, export, manage. */
export function may(permission) {
  return granted.includes(permission)
}

export const LOOKS_ONLY = 'Your role on this page looks at images and does not answer.'

onStatus(({ permissions }) => {
  granted = permissions
  document.querySelector('.gradio-container').dataset.may = permissions.join(' ')
})

/** The link to sign in or the button to sign out; empty on a page without users. */
export function makeAuthAction() {
  const action = make('span', { class: 'auth-action' })
  onStatus(({ auth_action: name }) => {
    if (action.dataset.name === name) return
    action.dataset.name = name ?? ''
    const out = make('button', { type: 'button', class: 'quiet', onclick: signOut }, 'Sign out')
    const enter = make('a', { class: 'button', href: 'login' }, 'Sign in')
    action.replaceChildren(...({ sign_in: [enter], sign_out: [out] }[name] ?? []))
  })
  return action
}
