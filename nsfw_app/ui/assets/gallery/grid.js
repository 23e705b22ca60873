// The grid: order of the cards, which of them pass the filters, and which one has the focus.

/** @import { Action, Category, Policy } from '../shared/policy.js' */
/** @import { Card } from './card.js' */
/** @import { Group } from './duplicates.js' */
/** @import { makeFilters } from './filters.js' */
/** @import { Order } from './order.js' */

import { closeExplanation } from '../shared/explanation.js'
import { makeRows } from '../shared/gridRows.js'
import { INITIAL_POLICY } from '../shared/policy.js'
import { signal } from '../shared/signal.js'
import { isUnjudged, passes } from './criteria.js'
import { gatherGroups } from './duplicates.js'
import { comparator } from './order.js'
import { summarize } from './summary.js'

const REST_MS = 200 // after the last move of the slider, before cards change places

/** @typedef {{ total: number, summary: string, shown: Card[] }} GridState */

/**
 * Creates an empty grid. `onRefresh` is called after each change of what is shown, `onCurrent` when
 * another card becomes the current one.
 *
 * @param {object} options
 * @param {ReturnType<typeof makeFilters>} options.filters
 * @param {(state: GridState) => void} options.onRefresh
 * @param {() => void} options.onCurrent
 */
export function makeGrid({ filters, onRefresh, onCurrent }) {
  const rows = makeRows({ label: 'Images' })
  const { element } = rows
  /** @type {Order} */
  let order = 'score'
  /** Whose probability the order `category` compares. @type {Category | ''} */
  let sortedBy = ''
  /** Categories that were judged of any card. */
  const judged = signal(/** @type {Set<string>} */ (new Set()))
  let collapsed = false
  /** @type {Card[]} All cards, sorted. */
  let ordered = []
  /** @type {Card[]} Those on screen. */
  let shown = []
  /** @type {Card | null} The one in the tab order: the first one, until a card had the focus. */
  let current = null
  let visited = false
  /** @type {Policy} */
  let policy = INITIAL_POLICY
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let restTimer
  /** @type {Map<Group, Card[]>} */
  let membersOf = new Map()
  /** @type {WeakMap<Element, Card>} */
  const cardOf = new WeakMap()

  /** @param {Card} card */
  function remove(card) {
    const hadFocus = card.focused
    ordered = ordered.filter((other) => other !== card)
    card.element.remove()
    if (current === card) current = null
    refresh()
    if (hadFocus) focus(current, { scroll: false })
  }

  /** @param {Card} card */
  function add(card) {
    cardOf.set(card.element, card)
    ordered.push(card)
    offerCategories(card)
    arrange()
    refresh()
  }

  function arrange() {
    const compare = comparator(order, policy, sortedBy)
    ordered.sort((a, b) => compare(a.image, b.image))
    if (collapsed) ordered = gatherGroups(ordered)
  }

  /** Applies the filters and counts what passes. */
  function refresh() {
    const criteria = filters.criteria()
    sortBy(criteria.category === 'none' ? '' : criteria.category)
    /** @type {Record<Action | 'not_sent', number>} */
    const counts = { allow: 0, review: 0, block: 0, unavailable: 0, not_sent: 0 }
    /** @type {Map<Group, Card[]>} The cards of each group that pass the filters. */
    const members = new Map()
    /** @type {Card[]} */
    const passing = []
    /** @type {Set<string>} */
    const reasons = new Set()
    /** @type {Card[]} */
    const hidden = []
    const hadFocus = current?.focused ?? false
    let unjudged = 0
    shown = []
    for (const card of ordered) {
      const { action, group } = card
      const fits = passes(card, criteria, policy)
      for (const code of card.decision?.reasons ?? []) reasons.add(code)
      if (fits) counts[card.unsent ? 'not_sent' : action] += 1
      else if (isUnjudged(card, criteria)) unjudged += 1
      const wanted = criteria.action === action && !card.unsent
      let visible = fits && (criteria.action === 'all' || wanted)
      if (visible) {
        passing.push(card)
        const earlier = members.get(group)
        if (earlier) earlier.push(card)
        else members.set(group, [card])
        if (earlier && collapsed && !group.expanded) visible = false
      }
      if (visible) shown.push(card)
      else hidden.push(card)
      card.hidden = !visible
    }
    for (const card of ordered) {
      const group = members.get(card.group)
      const represents = collapsed && group?.[0] === card
      card.setGroupCount(represents ? group.length : 0, card.group.expanded)
    }
    filters.drawCounts(counts)
    filters.offerReasons(reasons)
    rows.place(shown, hidden)
    if (!current || current.hidden) replaceCurrent(hadFocus)
    else if (!visited && shown[0]) makeCurrent(shown[0])
    membersOf = members
    onRefresh({
      total: ordered.length,
      summary: summarize({
        policy,
        total: ordered.length,
        passing,
        onScreen: shown.length,
        unjudged,
        category: criteria.category,
      }),
      shown,
    })
  }

  /** @param {Card} card */
  function offerCategories({ image: { categories } }) {
    const added = Object.keys(categories ?? {}).filter((name) => !judged.value.has(name))
    if (added.length) judged.value = new Set([...judged.value, ...added])
  }

  /** @param {Category | ''} category */
  function sortBy(category) {
    if (category === sortedBy) return
    sortedBy = category
    if (order === 'category') arrange()
  }

  /**
   * When the current card has left the screen, the one after it becomes current.
   *
   * @param {boolean} takeFocus
   */
  function replaceCurrent(takeFocus) {
    const at = current ? Math.max(0, ordered.indexOf(current)) : 0
    /** @param {Card} card */
    const visible = (card) => !card.hidden
    const next = ordered.slice(at).find(visible) ?? ordered.slice(0, at).findLast(visible)
    if (!next) {
      if (current) closeExplanation(current.image)
      return
    }
    makeCurrent(next)
    if (takeFocus) next.element.focus({ preventScroll: true })
  }

  /** @param {Card} card */
  function setCurrent(card) {
    visited = true
    makeCurrent(card)
  }

  /** @param {Card} card */
  function makeCurrent(card) {
    if (current && current !== card) {
      current.preview.conceal()
      closeExplanation(current.image)
      current.element.tabIndex = -1
    }
    const changed = current !== card
    current = card
    card.element.tabIndex = 0
    if (changed) onCurrent()
  }

  /**
   * @param {Card | null | undefined} card
   * @param {{ scroll?: boolean }} [options]
   */
  function focus(card, { scroll = true } = {}) {
    if (!card) return
    setCurrent(card)
    if (!card.focused) card.element.focus({ preventScroll: true })
    if (scroll) card.element.scrollIntoView({ block: 'nearest' })
  }

  /**
   * The card `by` places after the current one, or the last one in that direction.
   *
   * @param {number} by
   * @returns {Card | undefined}
   */
  function neighbor(by) {
    const at = current ? shown.indexOf(current) : -1
    return shown[Math.max(0, Math.min(shown.length - 1, at === -1 ? 0 : at + by))]
  }

  /** How many cards fit on the screen, in whole rows. */
  function page() {
    const height = current ? current.element.offsetHeight + rows.gap : 1
    return rows.columns * Math.max(1, Math.floor(innerHeight / height) - 1)
  }

  /**
   * The cards that a decision on this one is about: the whole group, while its near duplicates are
   * collapsed.
   *
   * @param {Card} card
   */
  function represented(card) {
    if (!collapsed || card.group.expanded) return [card]
    return membersOf.get(card.group) ?? [card]
  }

  judged.subscribe(filters.offerCategories)

  return {
    element,
    judged,
    offerCategories,
    add,
    remove,
    refresh,
    focus,
    setCurrent,
    neighbor,
    page,
    represented,
    rows,
    /** @param {Element | null} node */
    cardOf: (node) => (node ? cardOf.get(node) : undefined),
    shown: () => shown,
    get current() {
      return current
    },
    /**
     * Sets the policy of the verdicts. Cards keep their places while the slider moves.
     *
     * @param {Policy} next
     */
    setPolicy(next) {
      policy = next
      clearTimeout(restTimer)
      if (order === 'nearest') {
        restTimer = setTimeout(() => {
          arrange()
          refresh()
        }, REST_MS)
      }
    },
    /** @param {Order} next */
    setOrder(next) {
      order = next
      arrange()
      refresh()
    },
    /** @param {boolean} next Whether one card represents each group of near duplicates. */
    setCollapsed(next) {
      collapsed = next
      for (const card of ordered) card.group.expanded = false
      arrange()
      refresh()
    },
  }
}
