// One image in the gallery's grid.

/** @import { Action, CategoryRule, ModelLabel, Policy } from '../shared/policy.js' */
/** @import { Decision, Image } from '../shared/server.js' */
/** @import { Agreement } from './agreement.js' */
/** @import { Group } from './duplicates.js' */

import {
  categoriesText,
  categoryWord,
  categoryWords,
  highestRuled,
  shownCategories,
} from '../shared/categories.js'
import { icon, make } from '../shared/dom.js'
import { closeExplanation } from '../shared/explanation.js'
import { exposureOf } from '../shared/exposure.js'
import { fileName } from '../shared/fileName.js'
import { verdictOf } from '../shared/policy.js'
import { Preview } from '../shared/preview.js'
import { ACTION_WORDS, ScoreBar, warningList } from '../shared/verdict.js'
import { agreementOf } from './agreement.js'

/** @type {Partial<Record<Action, SVGSVGElement>>} Cloned, which is faster than drawing each. */
const icons = {}

/**
 * @typedef {object} CardHandlers
 * @property {(card: Card) => void} onAgree
 * @property {(card: Card) => void} onDisagree
 * @property {(card: Card) => void} onFocus
 * @property {(card: Card, event: MouseEvent) => void} onPick
 * @property {(card: Card) => void} onGroup
 */

/** The state of a card and its element. */
export class Card {
  /** @type {Action} */
  action = 'unavailable'
  /** @type {ModelLabel | null} By the model. */
  label = null
  /** Whether the decision agrees with this label. @type {Agreement | null} */
  agreement = null
  saving = false
  /** Lowercase names of all its files. @type {string[]} */
  names = []
  /** Files with the same content beyond the first, within one upload. */
  spare = 0
  /** Whether its file was not sent: then nothing is known about the image. */
  unsent = false

  /** @type {Map<string, string[]>} Names of its files by upload. */
  #copies = new Map()
  #verdictDrawn = false
  #bar
  #mark = make('span', { class: 'action' })
  #labelText = make('span', { class: 'label' })
  #categoryText = make('span', { class: 'card-category' })
  /** Of the policy that the categories were drawn with. @type {CategoryRule[] | undefined | null} */
  #rules = null
  #name
  #copiesText = make('div', { class: 'copies' })
  #decisionText = make('span', { class: 'decision' })
  #groupButton
  #pick
  #seenText = make('span', { class: 'seen' })
  #thumbnail
  #agree
  #disagree
  #buttons

  /**
   * A card without a verdict.
   *
   * @param {Image} image
   * @param {Group} group Of its near duplicates.
   * @param {CardHandlers} handlers
   */
  constructor(image, group, { onAgree, onDisagree, onFocus, onPick, onGroup }) {
    this.image = image
    this.group = group
    this.preview = new Preview(image, 'thumbnail')
    this.#bar = image.error ? null : makeSilentBar(image.nsfw_score)
    this.#name = fileName(image.name)
    this.#pick = make('button', {
      type: 'button',
      class: 'pick',
      tabindex: '-1',
      'aria-pressed': 'false',
      'aria-label': `Select ${image.name}`,
      onclick: (/** @type {MouseEvent} */ event) => onPick(this, event),
    })
    this.#thumbnail = make('div', { class: 'card-preview' }, this.preview.element, this.#pick)
    if (image.width) {
      this.#thumbnail.style.setProperty('--width', `${image.width}px`)
      this.#thumbnail.style.setProperty('--height', `${image.height}px`)
    }
    this.#groupButton = make('button', {
      type: 'button',
      class: 'quiet near-duplicates',
      tabindex: '-1',
      onclick: () => onGroup(this),
    })
    this.#agree = quickButton('agree', 'Agree', 'A', () => onAgree(this), image)
    this.#disagree = quickButton('disagree', 'Disagree', 'X', () => onDisagree(this), image)
    this.#buttons = make('div', { class: 'quick-buttons' }, this.#agree, this.#disagree)
    this.element = make(
      'div',
      {
        class: 'card',
        role: 'gridcell',
        tabindex: '-1',
        'aria-selected': 'false',
        'data-id': image.sha256 ?? '',
        'data-score': image.nsfw_score ?? '',
      },
      this.#thumbnail,
      make('div', { class: 'verdict-line' }, this.#mark, this.#labelText, this.#categoryText),
      this.#bar?.element ?? make('p', { class: 'problem' }, image.error?.message),
      this.#name,
      warningList(image),
      make('div', { class: 'card-state' }, this.#seenText, this.#decisionText),
      this.#buttons,
    )
    this.element.addEventListener('focusin', () => onFocus(this))
    if (image.placeholder) {
      const reveal = this.preview.makeButton()
      reveal.append(make('span', { class: 'visually-hidden', dir: 'auto' }, image.name))
      reveal.tabIndex = -1
      this.preview.element.append(reveal)
    }
    this.addFile(image)
    this.drawSeen()
    this.setDecision(image.decision ?? null)
  }

  get hidden() {
    return this.element.hidden
  }

  set hidden(hidden) {
    if (this.element.hidden !== hidden) this.element.hidden = hidden
  }

  /** Whether the model classified it. */
  get classified() {
    return !this.image.error
  }

  /** Whether the reviewer has revealed it. */
  get seen() {
    return exposureOf(this.image).seen
  }

  /** The caller's decision that is in force. */
  get decision() {
    return this.image.decision ?? null
  }

  /** Whether the keyboard focus is on the card or in it. */
  get focused() {
    return this.element.contains(document.activeElement)
  }

  /**
   * Counts another file with the same bytes.
   *
   * @param {Image} file
   */
  addFile({ name, batchId = '', categories, detail }) {
    this.names.push(name.toLowerCase())
    const earlier = this.image.detail
    if (detail && !detail.error && (!earlier || earlier.error)) {
      Object.assign(this.image, { categories, detail }) // the detail model was not ready, or failed
      this.#rules = null
    }
    const files = [...(this.#copies.get(batchId) ?? []), name]
    this.#copies.set(batchId, files)
    const most = [...this.#copies.values()].reduce((a, b) => (b.length > a.length ? b : a))
    this.spare = most.length - 1
    if (!this.spare) return
    if (!this.#copiesText.parentNode) this.#name.after(this.#copiesText)
    this.#copiesText.textContent = `${most.length} files`
    this.#copiesText.title = most.join('\n')
    this.#describe()
  }

  /**
   * Shows label, action and limits under a policy.
   *
   * @param {Policy} policy
   */
  applyPolicy(policy) {
    if (this.unsent) return
    this.#bar?.drawPolicy(policy)
    if (this.#rules !== policy.category_rules) this.#drawCategories(policy)
    const { label, action } = verdictOf(this.image, policy)
    if (this.#verdictDrawn && this.action === action && this.label === label) return
    if (!this.#verdictDrawn || this.action !== action) {
      icons[action] ??= icon(action)
      this.#mark.className = `action action-${action}`
      this.#mark.replaceChildren(icons[action].cloneNode(true), ACTION_WORDS[action])
    }
    this.#verdictDrawn = true
    this.action = action
    this.label = label
    this.element.dataset.action = action
    this.element.dataset.label = label ?? ''
    this.#labelText.textContent = label ?? ''
    this.#drawAgreement()
    this.#describe()
  }

  /**
   * Shows the highest category that reaches its rule. The rules are the same while a slider moves.
   *
   * @param {Policy} policy
   */
  #drawCategories(policy) {
    this.#rules = policy.category_rules
    const shown = shownCategories(this.image, policy)
    this.element.dataset.categories = shown.join(' ')
    const highest = highestRuled(this.image, policy)
    this.#categoryText.textContent = highest ? categoryWord(highest.category) : ''
    this.#describe()
  }

  /**
   * Shows a file that was not sent.
   *
   * @param {{ onRetry: () => void, onRemove: () => void }} handlers
   */
  setUnsent({ onRetry, onRemove }) {
    const { name } = this.image
    /** @param {string} word @param {() => void} onclick */
    const button = (word, onclick) =>
      make(
        'button',
        { type: 'button', class: 'quick', 'aria-label': `${word}: ${name}`, onclick },
        word,
      )
    this.unsent = true
    this.element.dataset.action = 'not_sent'
    this.#mark.className = 'action action-not_sent'
    this.#mark.textContent = 'Not sent'
    this.#buttons.replaceChildren(button('Retry', onRetry), button('Remove', onRemove))
  }

  /** @param {string} why The file was not sent. */
  explainUnsent(why) {
    this.element.querySelector('.problem')?.replaceChildren(why)
    this.element.setAttribute('aria-label', `${this.image.name}: Not sent. ${why}`)
  }

  /** @param {boolean} selected */
  setSelected(selected) {
    this.element.setAttribute('aria-selected', String(selected))
    this.#thumbnail.classList.toggle('chosen', selected)
    this.#pick.setAttribute('aria-pressed', String(selected))
  }

  /**
   * Shows how many near duplicates the card represents; 1 and 0 show nothing.
   *
   * @param {number} count
   * @param {boolean} expanded
   */
  setGroupCount(count, expanded) {
    const words = count > 1 ? `${count} near duplicates` : ''
    const button = this.#groupButton
    if (!button.parentNode) {
      if (!words) return
      this.#buttons.before(button)
    }
    if (button.textContent !== words) {
      button.textContent = words
      button.setAttribute('aria-label', `${words}: ${this.image.name}`)
      button.hidden = !words
    }
    button.title = expanded ? 'Show one card for all of them' : 'Show all of them'
    button.setAttribute('aria-expanded', String(expanded))
  }

  /** Shows that a decision is being saved. */
  setSaving() {
    this.saving = true
    closeExplanation(this.image)
    this.element.classList.add('saving')
    this.#decisionText.textContent = 'Saving'
  }

  /**
   * Shows a recorded decision, or none.
   *
   * @param {Decision | null} decision
   */
  setDecision(decision) {
    this.image.decision = decision
    this.saving = false
    this.element.classList.remove('saving')
    this.#decisionText.textContent = decision ? `You: ${decision.reviewer_label}` : ''
    this.#drawAgreement()
    this.#describe()
  }

  #drawAgreement() {
    this.agreement = agreementOf(this.decision?.reviewer_label, this.label)
    this.element.dataset.decision = this.agreement ?? ''
    this.#agree.setAttribute('aria-pressed', String(this.agreement === 'agree'))
    this.#disagree.setAttribute('aria-pressed', String(this.agreement === 'disagree'))
  }

  /** Shows whether the reviewer has revealed the image. */
  drawSeen() {
    if (!this.image.placeholder) return
    this.#seenText.textContent = this.seen ? 'Seen' : 'Not seen'
    this.#describe()
  }

  /** Verdict, score, files, seen and decision as a phrase. */
  describe() {
    const { image } = this
    const score =
      image.nsfw_score == null ? image.error?.message : `score ${image.nsfw_score.toFixed(3)}`
    const judged = categoriesText(image)
    const categories = judged ? `, ${judged}` : ''
    const files = this.spare ? `, ${this.#copiesText.textContent}` : ''
    const named = this.decision?.categories?.length
      ? `: ${categoryWords(this.decision.categories)}`
      : ''
    const decision = this.decision
      ? `, your decision ${this.decision.reviewer_label}${named}`
      : ', no decision'
    const seen = image.placeholder ? `, ${this.#seenText.textContent?.toLowerCase()}` : ''
    const warnings = (image.warnings ?? []).map(({ message }) => ` ${message}`).join('')
    const action = this.#verdictDrawn ? ACTION_WORDS[this.action] : ''
    return `${action} ${this.label ?? ''}, ${score}${categories}${files}${seen}${image.error ? '' : `${decision}.${warnings}`}`
  }

  #describe() {
    this.element.setAttribute('aria-label', `${this.image.name}: ${this.describe()}`)
  }
}

/**
 * The score bar of a card, hidden from screen readers: the card's own name includes the score.
 *
 * @param {number | null} score
 */
function makeSilentBar(score) {
  const bar = new ScoreBar()
  bar.element.removeAttribute('role')
  bar.element.setAttribute('aria-hidden', 'true')
  bar.drawScore(score)
  return bar
}

/**
 * @param {string} kind
 * @param {string} word
 * @param {string} key
 * @param {() => void} onclick
 * @param {Image} image
 */
function quickButton(kind, word, key, onclick, { name, error }) {
  return make(
    'button',
    {
      type: 'button',
      class: `quick ${kind}`,
      tabindex: '-1',
      title: `${word} (${key})`,
      'aria-label': `${word}: ${name}`,
      onclick,
      disabled: Boolean(error),
    },
    word,
  )
}
