// One settled misclassification in the Relabel tab's grid.

/** @import { ModelLabel } from '../shared/policy.js' */
/** @import { Misclassified } from '../shared/server.js' */

import { reasonWord } from '../shared/decisionForm.js'
import { make } from '../shared/dom.js'
import { closeExplanation } from '../shared/explanation.js'
import { fileName } from '../shared/fileName.js'
import { Preview } from '../shared/preview.js'

/** @typedef {ModelLabel | null} TrainingLabel Null excludes the image from the training set. */

/** @type {[TrainingLabel, string, string][]} Label, word, key. */
export const CHOICES = [
  ['normal', 'Normal', '1'],
  ['nsfw', 'NSFW', '2'],
  [null, 'Exclude', 'X'],
]

/**
 * The text for a training label.
 *
 * @param {string | null} confirmed As the server stores it: empty if excluded, null if undecided.
 */
export function describeLabel(confirmed) {
  if (confirmed === null) return 'No training label'
  return confirmed ? `Training label: ${confirmed}` : 'Excluded'
}

/** The state of a card and its element. */
export class LabelCard {
  hidden = false // as of a card that filters hide; here all are on screen
  saving = false

  #pick
  #thumbnail
  #state = make('p', { class: 'training-state' })
  #buttons
  #notes

  /**
   * @param {Misclassified} item
   * @param {object} options
   * @param {number} options.nearDuplicates Images in its group, itself included.
   * @param {boolean} options.namesModel Whether the list has images of several models.
   * @param {(card: LabelCard, label: TrainingLabel) => void} options.onLabel
   * @param {(card: LabelCard) => void} options.onFocus
   * @param {(card: LabelCard, event: MouseEvent) => void} options.onPick
   */
  constructor(item, { nearDuplicates, namesModel, onLabel, onFocus, onPick }) {
    this.item = item
    this.image = { ...item, action: /** @type {const} */ ('review'), error: null }
    this.preview = new Preview(this.image, 'thumbnail')
    if (item.placeholder) this.preview.element.append(this.preview.makeButton())
    const { name, reasons = [] } = item
    this.#pick = make('button', {
      type: 'button',
      class: 'pick',
      tabindex: '-1',
      'aria-pressed': 'false',
      'aria-label': `Select ${name}`,
      onclick: (/** @type {MouseEvent} */ event) => onPick(this, event),
    })
    this.#thumbnail = make('div', { class: 'card-preview' }, this.preview.element, this.#pick)
    this.#buttons = CHOICES.map(([label, word, key]) => {
      const attributes = {
        type: 'button',
        class: 'quick',
        tabindex: '-1',
        title: `${word} (${key})`,
        'aria-label': `${word}: ${name}`,
        onclick: () => onLabel(this, label),
      }
      return { label, button: make('button', attributes, word) }
    })
    this.#notes = notesOf(item)
    this.element = make(
      'div',
      {
        class: 'card label-card',
        role: 'gridcell',
        tabindex: '-1',
        'aria-selected': 'false',
        'data-id': item.sha256,
      },
      this.#thumbnail,
      make('p', { class: 'settled' }, 'Settled: ', make('b', {}, item.label)),
      fileName(name),
      make('p', { class: 'muted facts' }, factsOf(item, { nearDuplicates, namesModel })),
      reasons.length ? make('p', { class: 'reasons' }, reasons.map(reasonWord).join(', ')) : null,
      this.#notes,
      this.#state,
      make('div', { class: 'quick-buttons' }, ...this.#buttons.map(({ button }) => button)),
    )
    this.element.addEventListener('focusin', () => onFocus(this))
    this.setLabel(item.confirmed)
  }

  /** The label that reviewers settled on. */
  get settled() {
    return this.item.label
  }

  /** The training label as stored. */
  get confirmed() {
    return this.item.confirmed
  }

  /** Whether the keyboard focus is on the card or in it. */
  get focused() {
    return this.element.contains(document.activeElement)
  }

  /** @param {boolean} selected */
  setSelected(selected) {
    this.element.setAttribute('aria-selected', String(selected))
    this.#thumbnail.classList.toggle('chosen', selected)
    this.#pick.setAttribute('aria-pressed', String(selected))
  }

  setSaving() {
    this.saving = true
    closeExplanation(this.image)
    this.#state.textContent = 'Saving'
  }

  /**
   * Shows the label as stored, and why a change of it was not saved.
   *
   * @param {string | null} confirmed
   * @param {string} [problem]
   */
  setLabel(confirmed, problem) {
    this.item.confirmed = confirmed
    this.saving = false
    this.element.dataset.training = confirmed === '' ? 'excluded' : (confirmed ?? '')
    this.element.classList.toggle('failed', Boolean(problem))
    this.#state.textContent = problem ? `Not saved. ${problem}` : describeLabel(confirmed)
    for (const { label, button } of this.#buttons) {
      button.setAttribute('aria-pressed', String(confirmed === (label ?? '')))
    }
    const { name, label, nsfw_score: score } = this.item
    this.element.setAttribute(
      'aria-label',
      `${name}: settled ${label}, score ${score.toFixed(3)}, ${describeLabel(confirmed)}`,
    )
  }

  /** What is recorded, for the loupe. */
  describe() {
    return `Settled: ${this.settled}. ${this.#state.textContent}.`
  }

  /** @param {string} text What was done about the image besides its label. */
  setState(text) {
    this.#state.textContent = text
  }

  /** Shows or hides the notes of earlier reviewers. */
  toggleNotes() {
    if (this.#notes) this.#notes.open = !this.#notes.open
  }
}

/**
 * @param {Misclassified} item
 * @param {{ nearDuplicates: number, namesModel: boolean }} options
 */
function factsOf({ nsfw_score: score, answers, model }, { nearDuplicates, namesModel }) {
  const facts = [`score ${score.toFixed(3)}`, answers === 1 ? '1 decision' : `${answers} decisions`]
  if (namesModel) facts.push(model)
  if (nearDuplicates > 1) facts.push(`${nearDuplicates} near duplicates`)
  return facts.join(', ')
}

/**
 * The notes of earlier reviewers, to be opened; null without any.
 *
 * @param {Misclassified} item
 */
function notesOf({ notes = [] }) {
  if (!notes.length) return null
  return make(
    'details',
    { class: 'notes' },
    make('summary', { tabindex: '-1' }, notes.length === 1 ? '1 note' : `${notes.length} notes`),
    ...notes.map((note) => make('p', { dir: 'auto' }, note)),
  )
}
