// One image in the grid.

import { icon, make } from './dom.js'
import { makePicture, revealButton } from './picture.js'
import { ACTION_WORDS, drawScore, judge, scoreBar } from './verdict.js'

/** A card of an image, not judged yet. Its parts hang on the node: image, picture. */
export function makeCard(image, { onAgree, onDisagree, onFocus }) {
  const picture = makePicture(image, 'thumbnail')
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
  const card = make(
    'article',
    { class: 'card', role: 'listitem', tabindex: '-1' },
    picture,
    make(
      'div',
      { class: 'verdict-line' },
      make('span', { class: 'action' }),
      make('span', { class: 'label' }),
    ),
    image.error ? make('p', { class: 'problem' }, image.error.message) : scoreBar(),
    make('div', { class: 'name', title: image.name }, image.name),
    make(
      'div',
      { class: 'quick-buttons' },
      quick('agree', 'Agree', 'A', onAgree),
      quick('disagree', 'Disagree', 'X', onDisagree),
    ),
  )
  card.image = image
  card.picture = picture
  card.dataset.id = image.sha256 ?? ''
  card.dataset.score = image.nsfw_score ?? ''
  card.addEventListener('focusin', onFocus)
  if (image.placeholder) picture.append(revealButton(picture))
  markAnswer(card, image.decision)
  return card
}

/** Shows label, action and score bar as the policy has them now. */
export function judgeCard(card, policy) {
  const { label, action } = judge(card.image.nsfw_score, policy)
  const bar = card.querySelector('.score-bar')
  if (bar) drawScore(bar, card.image.nsfw_score, policy)
  if (card.dataset.action === action && card.dataset.label === (label ?? '')) return
  card.dataset.action = action
  card.dataset.label = label ?? ''
  const mark = card.querySelector('.action')
  mark.className = `action action-${action}`
  mark.replaceChildren(icon(action), ACTION_WORDS[action])
  card.querySelector('.label').textContent = label ?? ''
  describe(card)
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
    card.querySelector('.name').after(answer)
  }
  if (answer) answer.textContent = text
}

function describe(card) {
  const { image, dataset } = card
  const score =
    image.nsfw_score == null ? image.error?.message : `score ${image.nsfw_score.toFixed(3)}`
  const answer = image.decision
    ? `, your answer ${image.decision.reviewer_label}`
    : ', not answered'
  card.setAttribute(
    'aria-label',
    `${image.name}: ${ACTION_WORDS[dataset.action] ?? ''} ${dataset.label ?? ''}, ${score}${image.error ? '' : answer}`,
  )
}
