// The cards on screen: their order, which of them the filters show, and which one has the focus.

import { make } from '../shared/dom.js'
import { endHold } from '../shared/preview.js'
import { ACTIONS } from '../shared/verdict.js'
import { markGroup } from './card.js'
import { together } from './duplicates.js'
import { fits } from './filters.js'
import { summarise } from './summary.js'

/** The orders that can be asked for: value and word. */
export const ORDERS = [
  ['score', 'Highest score'],
  ['name', 'Name'],
  ['nearest', 'Nearest to the threshold'],
]

const REST_MS = 200 // without a move of the slider, before cards change their places

const byName = new Intl.Collator(undefined, { numeric: true })
const COMPARE = {
  score: () => (a, b) => (b.nsfw_score ?? 2) - (a.nsfw_score ?? 2),
  name: () => (a, b) => byName.compare(a.name, b.name),
  nearest: ({ threshold }) => {
    const distance = ({ nsfw_score: score }) => (score == null ? -1 : Math.abs(score - threshold))
    return (a, b) => distance(a) - distance(b)
  },
}

/** An empty grid. `filters` is asked which cards to show; `onSurvey` is told what was found. */
export function makeGrid({ filters, onSurvey }) {
  const cells = make('div', { class: 'cards', role: 'row' })
  const element = make(
    'div',
    { role: 'grid', 'aria-label': 'Images', 'aria-multiselectable': 'true' },
    cells,
  )
  let order = 'score'
  let collapsed = false
  let ordered = [] // all cards, as sorted
  let shown = [] // those on screen
  let current = null
  let policy = null
  let resting = 0

  function add(card) {
    ordered.push(card)
    arrange()
    survey()
  }

  /** Sorts. As few cards as possible move, since each that does is laid out anew. */
  function arrange() {
    const compare = COMPARE[order](policy)
    ordered.sort((a, b) => compare(a.image, b.image))
    if (collapsed) ordered = together(ordered)
    const places = new Map([...cells.children].map((card, at) => [card, at]))
    const staying = longestRise(ordered.map((card) => places.get(card) ?? -1))
    const focused = cells.contains(document.activeElement) ? document.activeElement : null
    let next = null
    for (let at = ordered.length - 1; at >= 0; at -= 1) {
      if (!staying.has(at)) cells.insertBefore(ordered[at], next)
      next = ordered[at]
    }
    if (focused && focused !== document.activeElement) focused.focus({ preventScroll: true })
  }

  /** Shows what the filters let through and counts it. */
  function survey() {
    const wanted = filters.wanted()
    const counts = Object.fromEntries(ACTIONS.map((action) => [action, 0]))
    const firsts = new Map() // of each group of near duplicates, the card that stands for it
    const passing = []
    const reasons = new Set()
    const held = current?.contains(document.activeElement)
    shown = []
    for (const card of ordered) {
      const { action } = card.dataset
      const fit = fits(card, wanted)
      for (const code of card.image.decision?.reasons ?? []) reasons.add(code)
      if (fit) counts[action] += 1
      let visible = fit && (wanted.action === 'all' || wanted.action === action)
      if (visible) {
        passing.push(card)
        const first = firsts.get(card.group)
        if (first) first.count += 1
        else firsts.set(card.group, { card, count: 1 })
        if (first && collapsed && !card.group.expanded) visible = false
      }
      if (visible) shown.push(card)
      if (card.hidden === visible) card.hidden = !visible
    }
    for (const card of ordered) {
      const first = firsts.get(card.group)
      const stands = collapsed && first?.card === card
      markGroup(card, stands ? first.count : 0, card.group.expanded)
    }
    filters.drawCounts(counts)
    filters.offerReasons(reasons)
    element.hidden = shown.length === 0
    if (!current || current.hidden) replaceCurrent(held)
    onSurvey({
      total: ordered.length,
      summary: summarise({ policy, total: ordered.length, passing, onScreen: shown.length }),
      shown,
    })
  }

  /** When the card with the focus has left the screen, the one after it takes its place. */
  function replaceCurrent(held) {
    const at = Math.max(0, ordered.indexOf(current))
    const open = (card) => !card.hidden
    const next = ordered.slice(at).find(open) ?? ordered.slice(0, at).findLast(open)
    if (!next) return
    setCurrent(next)
    if (held) next.focus({ preventScroll: true })
  }

  function setCurrent(card) {
    if (current && current !== card) {
      endHold(current.picture)
      current.tabIndex = -1
    }
    current = card
    card.tabIndex = 0
  }

  function focus(card, { scroll = true } = {}) {
    if (!card) return
    setCurrent(card)
    if (!card.contains(document.activeElement)) card.focus({ preventScroll: true })
    if (scroll) card.scrollIntoView({ block: 'nearest' })
  }

  /** The card so many places on, or the last one on the way there. */
  function neighbour(by) {
    const at = shown.indexOf(current)
    return shown[Math.max(0, Math.min(shown.length - 1, at === -1 ? 0 : at + by))]
  }

  /** How many cards stand in a row. */
  function columns() {
    return getComputedStyle(cells).gridTemplateColumns.split(' ').length
  }

  return {
    element,
    add,
    survey,
    focus,
    setCurrent,
    neighbour,
    columns,
    shown: () => shown,
    get current() {
      return current
    },
    /** The policy that the cards are judged by now. Cards keep their places while it moves. */
    setPolicy(now) {
      policy = now
      clearTimeout(resting)
      if (order === 'nearest') {
        resting = setTimeout(() => {
          arrange()
          survey()
        }, REST_MS)
      }
    },
    setOrder(name) {
      order = name
      arrange()
      survey()
    },
    setCollapsed(wanted) {
      collapsed = wanted
      for (const card of ordered) card.group.expanded = false
      arrange()
      survey()
    },
  }
}

/** The places of a longest rising part of a list of numbers; negative ones are no part of it. */
function longestRise(numbers) {
  const tails = [] // of the rises of each length, the place of the lowest last number
  const before = new Array(numbers.length)
  numbers.forEach((number, at) => {
    if (number < 0) return
    let low = 0
    let high = tails.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (numbers[tails[middle]] < number) low = middle + 1
      else high = middle
    }
    before[at] = tails[low - 1]
    tails[low] = at
  })
  const rise = new Set()
  for (let at = tails.at(-1); at !== undefined; at = before[at]) rise.add(at)
  return rise
}
