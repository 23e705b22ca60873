// Which cards the grid shows: by action, decision, reason, name and score.

import { reasonWord } from '../shared/decisionForm.js'
import { make } from '../shared/dom.js'
import { ACTION_WORDS, ACTIONS } from '../shared/verdict.js'

const STATES = [
  ['any', 'Any'],
  ['open', 'Not answered'],
  ['agree', 'Agreed'],
  ['disagree', 'Disagreed'],
]
const ROOMY = '(width >= 900px)' // narrower, the fields open on request

/** The filter's parts: `chips`, `toggle` and `fields` to place, and the questions cards are asked. */
export function makeFilters({ onChange }) {
  let action = 'all'
  const chips = Object.fromEntries(
    ['all', ...ACTIONS].map((name) => [
      name,
      make('button', { type: 'button', class: 'chip', onclick: () => setAction(name) }),
    ]),
  )
  const select = (word, options) =>
    make(
      'select',
      { 'aria-label': word, onchange: changed },
      ...options.map(([value, word]) => make('option', { value }, word)),
    )
  const bound = (word) =>
    make('input', {
      type: 'number',
      min: 0,
      max: 1,
      step: 0.01,
      inputmode: 'decimal',
      'aria-label': `Score ${word}`,
      placeholder: word === 'from' ? '0' : '1',
      oninput: changed,
    })
  const state = select('Decision', STATES)
  const reason = select('Reason', [['', 'Any reason']])
  const name = make('input', { type: 'search', placeholder: 'Part of a name', oninput: changed })
  const low = bound('from')
  const high = bound('to')
  const clear = make('button', { type: 'button', class: 'quiet', onclick: reset }, 'Clear filters')
  const field = (word, control) =>
    make('label', { class: 'filter' }, make('span', {}, word), control)
  const fields = make(
    'div',
    { class: 'filters', role: 'group', 'aria-label': 'Filters', id: 'grid-filters' },
    field('Decision', state),
    field('Reason', reason),
    field('Name', name),
    make(
      'div',
      { class: 'filter score-range', role: 'group', 'aria-label': 'Score range' },
      make('span', {}, 'Score'),
      low,
      make('span', {}, 'to'),
      high,
    ),
    clear,
  )
  const toggle = make('button', {
    type: 'button',
    class: 'quiet',
    'aria-controls': fields.id,
    onclick: () => show(fields.hidden),
  })
  show(matchMedia(ROOMY).matches)

  function show(open) {
    fields.hidden = !open
    toggle.setAttribute('aria-expanded', String(open))
  }

  function setAction(wanted) {
    action = wanted
    onChange()
  }

  function changed() {
    onChange()
  }

  function reset() {
    action = 'all'
    state.value = 'any'
    reason.value = ''
    for (const input of [name, low, high]) input.value = ''
    onChange()
  }

  /** What the fields ask for now; read once for all cards. */
  function wanted() {
    return {
      action,
      state: state.value,
      reason: reason.value,
      name: name.value.trim().toLowerCase(),
      low: numberIn(low),
      high: numberIn(high),
    }
  }

  /** Writes counts by action, of the cards that all other fields let through, on the chips. */
  function drawCounts(counts) {
    const all = Object.values(counts).reduce((sum, count) => sum + count, 0)
    for (const [key, chip] of Object.entries(chips)) {
      const words = key === 'all' ? `All ${all}` : `${ACTION_WORDS[key]} ${counts[key]}`
      if (chip.textContent !== words) chip.textContent = words
      chip.setAttribute('aria-pressed', String(action === key))
    }
    const inUse = Object.values(wantedFields()).filter(Boolean).length
    clear.disabled = inUse === 0 && action === 'all'
    const words = inUse ? `Filters, ${inUse} in use` : 'Filters'
    if (toggle.textContent !== words) toggle.textContent = words
  }

  function wantedFields() {
    const { state: answer, reason: code, name: text, low: from, high: to } = wanted()
    return { answer: answer !== 'any', code, text, score: from !== null || to !== null }
  }

  return {
    chips: make(
      'div',
      { class: 'chips', role: 'group', 'aria-label': 'Filter by action' },
      ...Object.values(chips),
    ),
    toggle,
    fields,
    wanted,
    drawCounts,
    reset,
    /** The reason codes that can be asked for: those in use, and the one asked for now. */
    offerReasons(codes) {
      const offered = [...new Set([...codes, reason.value])].filter(Boolean).sort()
      if (
        offered.join() ===
        [...reason.options]
          .slice(1)
          .map(({ value }) => value)
          .join()
      )
        return
      const { value } = reason
      const options = offered.map((code) => make('option', { value: code }, reasonWord(code)))
      reason.replaceChildren(reason.options[0], ...options)
      reason.value = value
    },
  }
}

/** Whether a card has the wanted decision, reason, name and score; its action is asked separately. */
export function fits({ image, names, dataset }, { state, reason, name, low, high }) {
  if (state === 'open' ? dataset.decision : state !== 'any' && dataset.decision !== state)
    return false
  if (reason && !image.decision?.reasons.includes(reason)) return false
  if (name && !names.some((candidate) => candidate.includes(name))) return false
  if (low === null && high === null) return true
  if (image.nsfw_score == null) return false
  return image.nsfw_score >= (low ?? 0) && image.nsfw_score <= (high ?? 1)
}

function numberIn(input) {
  const value = input.valueAsNumber
  return Number.isFinite(value) ? value : null
}
