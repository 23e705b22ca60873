// The text of the explanation on screen: what the map means, its legend and its sentence.

/** @import { ExplanationState } from './explanationRequest.js' */
/** @import { Image } from './server.js' */

import { GRADIENT } from './colorScale.js'
import { make } from './dom.js'
import { explanation } from './explanation.js'
import { describeMarked } from './heatGeometry.js'
import { keyWord } from './keys.js'

const NOTE = 'It shows what the score depends on. It is no evidence about the image.'

/**
 * A box with the text; empty and hidden until an explanation is requested. Its parts keep their
 * places when the answer arrives.
 *
 * @returns {{ element: HTMLElement, remove: () => void }}
 */
export function makeExplanationBox() {
  const scale = make('span', { class: 'heat-scale', 'aria-hidden': 'true' })
  scale.style.background = GRADIENT
  const legend = make(
    'p',
    { class: 'legend' },
    make('span', {}, 'low', scale, 'high'),
    make('span', {}, make('span', { class: 'heat-swatch', 'aria-hidden': 'true' }), 'marked area'),
  )
  const sentence = make('p', { class: 'explanation-text', role: 'status' })
  const element = make(
    'section',
    { class: 'explanation', 'aria-label': 'Evidence of the model', hidden: true },
    make('h2', {}, 'Evidence of the model'),
    make('p', { class: 'muted' }, NOTE),
    legend,
    sentence,
  )
  const unsubscribe = explanation.subscribe((state) => {
    const text = textOf(state)
    element.hidden = !text
    legend.classList.toggle('unseen', !hasColors(state))
    if (sentence.textContent !== text) sentence.textContent = text
  })
  return {
    element,
    remove() {
      unsubscribe()
      element.remove()
    },
  }
}

/** Whether the map of a state has colors, now or once it is computed. @param {ExplanationState} state */
function hasColors(state) {
  return state.phase === 'running' || (state.phase === 'done' && state.explanation.informative)
}

/**
 * Why the sentence has another score than the verdict; empty where both look the same.
 *
 * @param {{ explanation: { score: number }, image: Image }} state
 */
function scoreNote({ explanation: { score }, image: { nsfw_score: own } }) {
  if (own == null || own.toFixed(2) === score.toFixed(2)) return ''
  return `The explained preview scores ${score.toFixed(3)}, the image ${own.toFixed(3)}.`
}

/** @param {ExplanationState} state */
function textOf(state) {
  switch (state.phase) {
    case 'running':
      return `Computing the heat map. ${keyWord('h')} or Esc cancels.`
    case 'done': {
      const { sentence, informative } = state.explanation
      if (!informative) return sentence
      const parts = [sentence, describeMarked(state.explanation), scoreNote(state)]
      return parts.filter(Boolean).join(' ')
    }
    case 'failed':
      return `No heat map. ${state.message}`
    default:
      return ''
  }
}
