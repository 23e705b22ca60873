// Elements are created here, and never from markup: names and notes stay text.

/** @import { Action } from './policy.js' */

const SVG = 'http://www.w3.org/2000/svg'

/**
 * An element with attributes and children. A function under `on...` is a listener, true and false
 * set and omit an attribute, strings become text nodes, null children are left out.
 *
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, any>} [attributes]
 * @param {...(Node | string | number | null | undefined)} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value)
    else if (value === true) node.setAttribute(name, '')
    else if (value !== false && value != null) node.setAttribute(name, value)
  }
  for (const child of children) {
    if (child != null) node.append(typeof child === 'number' ? String(child) : child)
  }
  return node
}

/**
 * An SVG element with attributes and children.
 *
 * @template {keyof SVGElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, string | number>} attributes
 * @param {...Node} children
 */
export function makeSvg(tag, attributes, ...children) {
  const node = document.createElementNS(SVG, tag)
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value))
  node.append(...children)
  return node
}

/** @typedef {Action | 'agree' | 'disagree'} Shape */

/** @type {Record<Shape, ['circle' | 'path', Record<string, string | number>][]>} */
const SHAPES = {
  allow: [
    ['circle', { cx: 12, cy: 12, r: 9 }],
    ['path', { d: 'M8 12.5l2.7 2.7L16 9.5' }],
  ],
  review: [
    ['path', { d: 'M12 2.5L21.5 12 12 21.5 2.5 12z' }],
    ['path', { d: 'M12 8v5m0 2.6v.4' }],
  ],
  block: [
    ['path', { d: 'M8.3 3h7.4L21 8.3v7.4L15.7 21H8.3L3 15.7V8.3z' }],
    ['path', { d: 'M8 12h8' }],
  ],
  unavailable: [
    ['circle', { cx: 12, cy: 12, r: 9, 'stroke-dasharray': '3.2 3' }],
    ['path', { d: 'M9.8 9.6a2.3 2.3 0 1 1 3.2 2.2c-.7.3-1 .8-1 1.6m0 2.6v.3' }],
  ],
  agree: [['path', { d: 'M5 9h14M5 15h14' }]],
  disagree: [['path', { d: 'M5 9h14M5 15h14M17 4L7 20' }]],
}

/**
 * The shape of an action or an agreement, hidden from screen readers: a word always accompanies it.
 *
 * @param {Shape} name
 */
export function icon(name) {
  const shapes = SHAPES[name].map(([tag, attributes]) => makeSvg(tag, attributes))
  const attributes = { viewBox: '0 0 24 24', class: `icon icon-${name}`, 'aria-hidden': 'true' }
  return makeSvg('svg', attributes, ...shapes)
}

/**
 * Resolves to the region with this id once Gradio has rendered it.
 *
 * @param {string} id
 * @returns {Promise<HTMLElement>}
 */
export function regionOf(id) {
  return new Promise((resolve) => {
    const check = () => {
      const node = document.querySelector(`#${id} .region`)
      if (node instanceof HTMLElement) resolve(node)
      else requestAnimationFrame(check)
    }
    check()
  })
}

/**
 * The closest ancestor of an event's target that matches, the target included.
 *
 * @param {Event} event
 * @param {string} selector
 * @returns {HTMLElement | null}
 */
export function closest(event, selector) {
  const { target } = event
  const found = target instanceof Element ? target.closest(selector) : null
  return found instanceof HTMLElement ? found : null
}

/**
 * Whether a key press or a paste belongs to a form field or a dialog.
 *
 * @param {Event} event
 */
export function inField(event) {
  return closest(event, 'input, textarea, select, [contenteditable], dialog') !== null
}

/**
 * Whether an element is rendered, so whether its tab is the open one.
 *
 * @param {HTMLElement} node
 */
export function isVisible(node) {
  return node.isConnected && node.offsetParent !== null
}

/**
 * Calls back with true when an element's tab is opened, with false when it is left. Does not depend
 * on where the page is scrolled to.
 *
 * @param {HTMLElement} node
 * @param {(visible: boolean) => void} onChange
 */
export function watchVisibility(node, onChange) {
  let visible = false
  // An element that is not rendered has no size.
  new ResizeObserver(() => {
    if (isVisible(node) === visible) return
    visible = !visible
    onChange(visible)
  }).observe(node)
}

/** @param {string} id Of a tab, such as insights. */
export function openTab(id) {
  const tab = document.querySelector(`[role="tab"][data-tab-id="${id}"]`)
  if (tab instanceof HTMLElement) tab.click()
}
