// The bar above the grid: chips, order, filters, blur, and how far an upload is.

import { make } from '../shared/dom.js'
import { toggleHelp } from '../shared/keys.js'
import { toggleBlur } from '../shared/preview.js'
import { ORDERS } from './grid.js'

/** Fills the gallery's toolbar; cards that come into view keep clear of it, however high it is. */
export function fillToolbar(root, { filters, grid, uploads }) {
  const sort = make('select', {
    'aria-label': 'Order',
    onchange: () => grid.setOrder(sort.value),
  })
  sort.append(...ORDERS.map(([value, word]) => make('option', { value }, word)))
  const button = (words, act, attributes = {}) =>
    make('button', { type: 'button', class: 'quiet', onclick: act, ...attributes }, ...words)
  const blur = button(['Blur', make('kbd', {}, 'B')], toggleBlur, { 'aria-pressed': 'true' })
  document.addEventListener('blur', (event) =>
    blur.setAttribute('aria-pressed', String(event.detail)),
  )
  const collapse = button(['Collapse near duplicates'], toggleCollapse, {
    class: 'chip collapse',
    'aria-pressed': 'false',
  })
  filters.fields.append(collapse)
  root.replaceChildren(
    filters.chips,
    make('label', { class: 'order' }, make('span', {}, 'Order'), sort),
    filters.toggle,
    blur,
    button(['Keys', make('kbd', {}, '?')], toggleHelp),
    ...uploads.parts,
    filters.fields,
  )
  new ResizeObserver(([{ target }]) =>
    grid.element.style.setProperty('--toolbar', `${target.offsetHeight}px`),
  ).observe(root.closest('#gallery-toolbar') ?? root)

  function toggleCollapse() {
    const wanted = collapse.getAttribute('aria-pressed') === 'false'
    collapse.setAttribute('aria-pressed', String(wanted))
    grid.setCollapsed(wanted)
  }
}
