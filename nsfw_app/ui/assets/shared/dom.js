// Nodes are made here and nowhere from text: whatever a file or a person is called, it stays text.

const SVG = 'http://www.w3.org/2000/svg'

/** An element with attributes and children; texts become text nodes, null children are left out. */
export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value)
    else if (value === true) node.setAttribute(name, '')
    else if (value !== false && value != null) node.setAttribute(name, value)
  }
  node.append(...children.filter((child) => child != null))
  return node
}

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
}

/** The drawing of an action; the word beside it carries the meaning. */
export function icon(action) {
  const svg = document.createElementNS(SVG, 'svg')
  svg.setAttribute('viewBox', '0 0 24 24')
  svg.setAttribute('class', `icon icon-${action}`)
  svg.setAttribute('aria-hidden', 'true')
  for (const [tag, attributes] of SHAPES[action]) {
    const shape = document.createElementNS(SVG, tag)
    for (const [name, value] of Object.entries(attributes)) shape.setAttribute(name, value)
    svg.append(shape)
  }
  return svg
}

/** The region with this id, as soon as the page has it. */
export function present(id) {
  return new Promise((resolve) => {
    const look = () => {
      const node = document.querySelector(`#${id} .region`)
      if (node) resolve(node)
      else requestAnimationFrame(look)
    }
    look()
  })
}

/** Whether a key or a paste belongs to a field or a dialog rather than to the desk. */
export function inField(event) {
  return Boolean(event.target.closest?.('input, textarea, select, [contenteditable], dialog'))
}

/** Whether an element is on the screen, so whether its tab is the open one. */
export function shown(node) {
  return node.isConnected && node.offsetParent !== null
}
