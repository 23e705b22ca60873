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

/** The way in or out, for those who have one: a part of the bar on top. */
export function makeDoor() {
  const door = make('span', { class: 'door' })
  onStatus(({ door: way }) => {
    if (door.dataset.way === way) return
    door.dataset.way = way ?? ''
    const out = make('button', { type: 'button', class: 'quiet', onclick: signOut }, 'Sign out')
    const enter = make('a', { class: 'button', href: 'login' }, 'Sign in')
    door.replaceChildren(...({ in: [enter], out: [out] }[way] ?? []))
  })
  return door
}
