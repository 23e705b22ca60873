// The caller's permissions, as the server reports them. The server enforces them; the page hides
// controls that would be refused.

import { status } from './server.js'

/** @type {string[]} */
let granted = []

export const READ_ONLY = 'Your role can view images but not record decisions.'

/**
 * Whether the caller has a permission: review, export, manage, ...
 *
 * @param {string} permission
 */
export const may = (permission) => granted.includes(permission)

status.subscribe(({ permissions }) => {
  granted = permissions
  const page = document.querySelector('.gradio-container')
  if (page instanceof HTMLElement) page.dataset.may = permissions.join(' ')
})
