// The line above the grid: chips, order, filters, upload progress; and what the filters open.

/** @import { makeFilters } from './filters.js' */
/** @import { makeGrid } from './grid.js' */
/** @import { makeUploads } from './uploads.js' */

import { make } from '../shared/dom.js'
import { ORDERS } from './order.js'

/**
 * Fills the toolbar, and publishes its height so that cards scroll into view below it, and the footer
 * is above it where it is at the bottom.
 *
 * @param {HTMLElement} root
 * @param {object} parts
 * @param {ReturnType<typeof makeFilters>} parts.filters
 * @param {ReturnType<typeof makeGrid>} parts.grid
 * @param {ReturnType<typeof makeUploads>} parts.uploads
 * @param {HTMLElement} parts.size
 * @param {HTMLElement} parts.folder
 */
export function fillToolbar(root, { filters, grid, uploads, size, folder }) {
  let collapsed = false
  const sort = make('select', {
    'aria-label': 'Order',
    onchange: () => grid.setOrder(ORDERS[sort.selectedIndex][0]),
  })
  const orders = ORDERS.map(([value, word]) => make('option', { value }, word))
  sort.append(...orders)
  grid.judged.subscribe(({ size }) => {
    for (const option of orders) option.hidden = option.value === 'category' && !size
  })
  const collapse = make(
    'button',
    { type: 'button', class: 'chip collapse', 'aria-pressed': 'false', onclick: toggleCollapse },
    'Collapse near duplicates',
  )
  filters.fields.append(collapse, size)
  root.replaceChildren(
    make(
      'div',
      { class: 'tool-line' },
      folder,
      filters.chips,
      make('label', { class: 'order' }, sort),
      filters.toggle,
      ...uploads.parts,
    ),
    filters.fields,
  )
  const toolbar = root.closest('#gallery-toolbar')
  const measured = toolbar instanceof HTMLElement ? toolbar : root
  new ResizeObserver(() =>
    (grid.element.parentElement ?? grid.element).style.setProperty(
      '--toolbar',
      `${measured.offsetHeight}px`,
    ),
  ).observe(measured)

  function toggleCollapse() {
    collapsed = !collapsed
    collapse.setAttribute('aria-pressed', String(collapsed))
    grid.setCollapsed(collapsed)
  }
}
