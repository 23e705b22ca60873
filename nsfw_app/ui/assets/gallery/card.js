// One image in the grid.

import { icon, make } from '../shared/dom.js'
import { makePicture, revealButton } from '../shared/preview.js'
import { ACTION_WORDS, judge, scoreBar, warningList } from '../shared/verdict.js'

const LIMITS = [
  ['--from', 'review_from'],
  ['--to', 'review_to'],
  ['--threshold', 'threshold'],
]

const icons = {}

/**
 * A card of an image, not judged yet. What the grid asks of it hangs on the node: image, picture,
 * its parts, names (in small letters, of all its files), copies (its files by upload), spare
 * (files beyond the first), and later its group of near duplicates.
 */
export function makeCard(image, { onAgree, onDisagree, onFocus, onPick, onGroup }) {
  const picture = makePicture(image, 'thumbnail')
  const bar = image.error ? null : cardBar(image.nsfw_score)
  const quick = (kind, word, key, act) =>
    make(
      'button',
      {
        type: 'button',
        class: `quick ${kind}`,
        tabindex: '-1',
        title: `${word} (${key})`,
        onclick: act,
        disabled: Boolean(image.error),
      },
      word,
    )
  const mark = make('span', { class: 'action' })
  const label = make('span', { class: 'label' })
  const tick = make('button', {
    type: 'button',
    class: 'pick',
    tabindex: '-1',
    'aria-pressed': 'false',
    'aria-label': `Select ${image.name}`,
    onclick: onPick,
  })
  const card = make(
    'article',
    { class: 'card', role: 'gridcell', tabindex: '-1', 'aria-selected': 'false' },
    make('div', { class: 'picture-place' }, picture, tick),
    make('div', { class: 'verdict-line' }, mark, label),
    bar ?? make('p', { class: 'problem' }, image.error.message),
    make('div', { class: 'name', title: image.name }, image.name),
    warningList(image),
    make(
      'div',
      { class: 'quick-buttons' },
      quick('agree', 'Agree', 'A', onAgree),
      quick('disagree', 'Disagree', 'X', onDisagree),
    ),
  )
  card.image = image
  card.parts = { bar, mark, label, tick }
  card.picture = picture
  card.names = []
  card.copies = new Map()
  card.spare = 0
  card.onGroup = onGroup
  card.dataset.id = image.sha256 ?? ''
  card.dataset.score = image.nsfw_score ?? ''
  card.addEventListener('focusin', onFocus)
  if (image.placeholder) picture.append(revealButton(picture))
  addFile(card, image)
  markAnswer(card, image.decision)
  return card
}

/** The score as drawn on a card, silent: the card's own name tells it. */
function cardBar(score) {
  const bar = scoreBar()
  bar.removeAttribute('role')
  bar.setAttribute('aria-hidden', 'true')
  bar.style.setProperty('--score', `${100 * score}%`)
  bar.lastChild.textContent = score.toFixed(3)
  return bar
}

/** Draws the threshold and the band, as far as they moved: of 500 cards each write counts. */
function drawLimits(card, policy) {
  const { limits } = card
  const { bar } = card.parts
  card.limits = policy
  if (!bar) return
  for (const [name, key] of LIMITS) {
    if (limits?.[key] !== policy[key]) bar.style.setProperty(name, `${100 * policy[key]}%`)
  }
}

/** Counts another file with the same bytes; the number shown is of files within one upload. */
export function addFile(card, { name, batchId }) {
  card.names.push(name.toLowerCase())
  const files = [...(card.copies.get(batchId) ?? []), name]
  card.copies.set(batchId, files)
  const most = [...card.copies.values()].reduce((a, b) => (b.length > a.length ? b : a))
  card.spare = most.length - 1
  if (!card.spare) return
  if (!card.parts.copies) {
    card.parts.copies = make('div', { class: 'copies' })
    card.querySelector('.name').after(card.parts.copies)
  }
  card.parts.copies.textContent = `${most.length} files`
  card.parts.copies.title = most.join('\n')
  describe(card)
}

/** Shows label, action and limits as the policy has them now. */
export function judgeCard(card, policy) {
  drawLimits(card, policy)
  const { label, action } = judge(card.image, policy)
  if (card.dataset.action === action && card.dataset.label === (label ?? '')) return
  if (card.dataset.action !== action) {
    icons[action] ??= icon(action)
    card.parts.mark.className = `action action-${action}`
    card.parts.mark.replaceChildren(icons[action].cloneNode(true), ACTION_WORDS[action])
  }
  card.dataset.action = action
  card.dataset.label = label ?? ''
  card.parts.label.textContent = label ?? ''
  describe(card)
}

/** Shows whether a card is among the selected, to eyes by a tick and to screen readers. */
export function markSelected(card, selected) {
  card.setAttribute('aria-selected', String(selected))
  card.parts.tick.parentNode.classList.toggle('chosen', selected)
  card.parts.tick.setAttribute('aria-pressed', String(selected))
}

/** Shows how many near duplicates a card stands for; fewer than two and there is nothing to say. */
export function markGroup(card, count, expanded) {
  const words = count > 1 ? `${count} near duplicates` : ''
  let button = card.parts.alike
  if (!button && !words) return
  if (!button) {
    button = make('button', {
      type: 'button',
      class: 'quiet alike',
      tabindex: '-1',
      onclick: card.onGroup,
    })
    card.parts.alike = button
    card.querySelector('.quick-buttons').before(button)
  }
  if (button.textContent !== words) {
    button.textContent = words
    button.hidden = !words
  }
  button.title = expanded ? 'Show one card for all of them' : 'Show all of them'
  button.setAttribute('aria-expanded', String(expanded))
}

/** Shows an answer on its way to disk. */
export function markSaving(card, label) {
  card.classList.add('saving')
  setAnswerText(card, `${label}, saving`)
}

/** Shows an answer that is on disk, or none. */
export function markAnswer(card, decision) {
  card.image.decision = decision ?? null
  card.classList.remove('saving')
  card.dataset.decision = decision ? (decision.agrees ? 'agree' : 'disagree') : ''
  setAnswerText(card, decision ? `You: ${decision.reviewer_label}` : '')
  card.querySelector('.quick.agree').setAttribute('aria-pressed', String(Boolean(decision?.agrees)))
  card
    .querySelector('.quick.disagree')
    .setAttribute('aria-pressed', String(decision?.agrees === false))
  describe(card)
}

function setAnswerText(card, text) {
  let answer = card.querySelector('.answer')
  if (!answer && text) {
    answer = make('div', { class: 'answer' })
    card.querySelector('.quick-buttons').before(answer)
  }
  if (answer) answer.textContent = text
}

function describe(card) {
  const { image, dataset } = card
  const score =
    image.nsfw_score == null ? image.error?.message : `score ${image.nsfw_score.toFixed(3)}`
  const files = card.parts.copies ? `, ${card.parts.copies.textContent}` : ''
  const answer = image.decision
    ? `, your answer ${image.decision.reviewer_label}`
    : ', not answered'
  const warnings = (image.warnings ?? []).map(({ message }) => ` ${message}`).join('')
  card.setAttribute(
    'aria-label',
    `${image.name}: ${ACTION_WORDS[dataset.action] ?? ''} ${dataset.label ?? ''}, ${score}${files}${image.error ? '' : `${answer}.${warnings}`}`,
  )
}
