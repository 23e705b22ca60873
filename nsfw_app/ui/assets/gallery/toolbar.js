// The bar above the grid: chips, order, filters, blur, upload progress.

/** @import { makeFilters } from './filters.js' */
/** @import { makeGrid } from './grid.js' */
/** @import { makeUploads } from './uploads.js' */

import { make } from '../shared/dom.js'
import { toggleHelp } from '../shared/keys.js'
import { blurred, toggleBlur } from '../shared/preview.js'
import { ORDERS } from './order.js'

/**
 * Fills the toolbar, and publishes its height so that cards scroll into view below it.
 *
 * @param {HTMLElement} root
 * @param {object} parts
 * @param {ReturnType<typeof makeFilters>} parts.filters
 * @param {ReturnType<typeof makeGrid>} parts.grid
 * @param {ReturnType<typeof makeUploads>} parts.uploads
 */
export function fillToolbar(root, { filters, grid, uploads }) {
  let collapsed = false
  const sort = make('select', {
    'aria-label': 'Order',
    onchange: () => grid.setOrder(ORDERS[sort.selectedIndex][0]),
  })
  sort.append(...ORDERS.map(([value, word]) => make('option', { value }, word)))
  /** @param {(Node | string)[]} words @param {() => void} onclick @param {Record<string, any>} [attributes] */
  const button = (words, onclick, attributes = {}) =>
    make('button', { type: 'button', class: 'quiet', onclick, ...attributes }, ...words)
  const blur = button(['Blur', make('kbd', {}, 'B')], toggleBlur)
  blurred.subscribe((on) => blur.setAttribute('aria-pressed', String(on)))
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
  const toolbar = root.closest('#gallery-toolbar')
  const measured = toolbar instanceof HTMLElement ? toolbar : root
  new ResizeObserver(() =>
    grid.element.style.setProperty('--toolbar', `${measured.offsetHeight}px`),
  ).observe(measured)

  function toggleCollapse() {
    collapsed = !collapsed
    collapse.setAttribute('aria-pressed', String(collapsed))
    grid.setCollapsed(collapsed)
  }
}
