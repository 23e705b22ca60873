// The Log tab: filter, table, pages and exports. The export links always have the filter on screen.

/** @import { LogPage } from '../shared/server.js' */
/** @import { Filter } from './query.js' */

import { make, watchVisibility } from '../shared/dom.js'
import { may } from '../shared/permissions.js'
import {
  deskUrl,
  logChoices,
  logPage,
  messageOf,
  refreshStatus,
  setReviews,
  status,
} from '../shared/server.js'
import { makeFilterForm } from './filterForm.js'
import { openImageDialog } from './imageDialog.js'
import { makePages } from './pages.js'
import { EVERYTHING, queryOf } from './query.js'
import { drawTable } from './table.js'

const TYPING_MS = 250

/**
 * Loads the first page whenever the tab becomes visible.
 *
 * @param {HTMLElement} root
 */
export function mount(root) {
  const pages = makePages()
  let filter = EVERYTHING
  let request = 0
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let typing

  const form = makeFilterForm(applyFilter)
  const range = make('span', { role: 'status' })
  const leftOut = make('p', { class: 'left-out' })
  const links = ['csv', 'jsonl'].map((format) =>
    make(
      'a',
      { id: `export-${format}`, class: 'button', download: `corrections.${format}` },
      `Export ${format.toUpperCase()}`,
    ),
  )
  const reviews = make('input', { type: 'checkbox', onchange: changeReviews })
  const reviewing = make(
    'label',
    { class: 'reviewing', hidden: true },
    reviews,
    make('span', {}, 'I do not review: show every decision, let me record none'),
  )
  const table = make('div')
  const newer = pageButton('Newer', () => pages.newer())
  const older = pageButton('Older', () => shown && pages.older(...follower(shown, pages)))
  /** @type {LogPage | null} */
  let shown = null
  root.replaceChildren(
    form.element,
    make(
      'div',
      { class: 'log-head' },
      range,
      leftOut,
      make('span', { class: 'buttons' }, ...links),
    ),
    reviewing,
    table,
    make('div', { id: 'log-pages', class: 'buttons' }, newer, older),
  )

  /** @param {string} word @param {() => void} turn */
  function pageButton(word, turn) {
    const onclick = () => {
      turn()
      load()
    }
    return make('button', { type: 'button', class: 'quiet', disabled: true, onclick }, word)
  }

  /** @param {Filter} next @param {boolean} more */
  function applyFilter(next, more) {
    const same = String(queryOf(next)) === String(queryOf(filter))
    filter = next
    if (same) return
    pages.first()
    drawLinks()
    clearTimeout(typing)
    if (more) typing = setTimeout(load, TYPING_MS)
    else load()
  }

  function drawLinks() {
    links.forEach((link, index) => {
      link.href = deskUrl(`log.${['csv', 'jsonl'][index]}?${queryOf(filter)}`)
    })
  }

  async function load() {
    const number = ++request
    const query = queryOf(filter)
    if (pages.before !== null) query.set('before', String(pages.before))
    try {
      const page = await logPage(query)
      if (number === request) draw(page)
    } catch (error) {
      if (number === request) range.textContent = messageOf(error)
    }
  }

  /** @param {LogPage} page */
  function draw(page) {
    shown = page
    range.textContent = describe(page, pages)
    leftOut.textContent = page.left_out
    newer.disabled = pages.isFirst
    older.disabled = !hasOlder(page, pages)
    older.textContent = page.searched_to !== null && !page.rows.length ? 'Search older' : 'Older'
    const hint = 'Decide an image in Review or Gallery, or widen the filter above.'
    table.replaceChildren(
      page.rows.length ? drawTable(page.rows, open) : make('p', { class: 'empty' }, hint),
    )
  }

  /** @param {LogPage['rows'][number]} row */
  function open(row) {
    openImageDialog(row, { onChanged: load, onShowAll: form.showImage })
  }

  async function changeReviews() {
    reviews.disabled = true
    try {
      await setReviews(!reviews.checked)
      await refreshStatus()
    } catch (error) {
      range.textContent = messageOf(error)
      reviews.checked = !reviews.checked
    }
    reviews.disabled = false
    enter()
  }

  async function enter() {
    pages.first()
    load()
    try {
      form.offer({ ...(await logChoices()), reasons: status.value?.reasons ?? [] })
    } catch {
      // The filter offers what it did before; the page itself shows the error.
    }
  }

  status.subscribe((now) => {
    reviews.checked = !now.reviews
    reviewing.hidden = !may('manage')
  })
  drawLinks()
  watchVisibility(root, (visible) => visible && enter())
}

/**
 * The arguments of `Pages.older`.
 *
 * @param {LogPage} page
 * @param {ReturnType<typeof makePages>} pages
 * @returns {[number, number | null]}
 */
function follower({ rows, total, searched_to: searched }, pages) {
  if (total === null) return [searched ?? rows[rows.length - 1].decision_id, null]
  return [rows[rows.length - 1].decision_id, total - pages.firstNumber(total) + 1 - rows.length]
}

/**
 * @param {LogPage} page
 * @param {ReturnType<typeof makePages>} pages
 */
function hasOlder({ rows, total, searched_to: searched }, pages) {
  if (total === null) return searched !== null
  return rows.length > 0 && pages.firstNumber(total) + rows.length - 1 < total
}

/**
 * What the page shows: numbered rows, or how far a search has come.
 *
 * @param {LogPage} page
 * @param {ReturnType<typeof makePages>} pages
 */
function describe({ rows, total, searched_since: since }, pages) {
  if (total === null) {
    const found = rows.length ? `${rows.length} found` : 'None found'
    const where = pages.isFirst ? '' : ' on this page'
    if (since === null) return rows.length ? `${found}${where}` : 'No decisions match'
    return `${found}${where}, searched back to ${since.slice(0, 16).replace('T', ' ')} UTC`
  }
  if (!rows.length) return 'No decisions match'
  const first = pages.firstNumber(total)
  return `Rows ${first} to ${first + rows.length - 1} of ${total}`
}
