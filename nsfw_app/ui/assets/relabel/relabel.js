// Errors of the model that reviewers settled: confirmed as training labels, or set aside.

import { make, shown } from '../shared/dom.js'
import { makePicture, revealButton } from '../shared/preview.js'
import { labelForTraining, mistakes, trainingLabelsUrl } from '../shared/server.js'

/** Draws the list whenever it comes into view. */
export function mount(root) {
  const status = make('span', { role: 'status' })
  const list = make('div', { class: 'mistakes' })
  const again = make('button', { type: 'button', class: 'quiet', onclick: load }, 'Look again')
  const link = make(
    'a',
    { class: 'button', href: trainingLabelsUrl, download: 'training-labels.jsonl' },
    'Export confirmed labels',
  )
  root.replaceChildren(
    make('div', { class: 'log-head' }, status, make('span', { class: 'buttons' }, again, link)),
    list,
  )

  async function load() {
    try {
      draw(await mistakes())
    } catch (error) {
      status.textContent = error.message
    }
  }

  function draw(groups) {
    const count = groups.flat().length
    status.textContent = `${count} settled ${count === 1 ? 'error' : 'errors'}, the most confident first`
    if (count) list.replaceChildren(...groups.map(group))
    else {
      list.replaceChildren(
        make(
          'p',
          { class: 'empty' },
          'A disagreement is settled when a second reviewer gives the same answer. Who works alone can set NSFW_ANSWERS to disagreement=1.',
        ),
      )
    }
  }

  function group(members) {
    const note =
      members.length > 1 ? make('p', { class: 'muted' }, `${members.length} that look alike`) : null
    return make('section', { class: 'mistake-group' }, note, ...members.map(mistake))
  }

  function mistake(item) {
    const picture = makePicture(item, 'thumbnail')
    picture.append(revealButton(picture))
    const state = make('span', { class: 'muted', role: 'status' }, stateOf(item.confirmed))
    const choose = (word, label, confirmed) =>
      make(
        'button',
        {
          type: 'button',
          onclick: async () => {
            try {
              await labelForTraining(item.prediction_id, label)
              state.textContent = stateOf(confirmed)
            } catch (error) {
              state.textContent = `Not saved. ${error.message}`
            }
          },
        },
        word,
      )
    return make(
      'article',
      { class: 'mistake', 'data-id': item.sha256 },
      picture,
      make(
        'div',
        { class: 'mistake-words' },
        make(
          'span',
          {},
          `Settled as ${item.label}; the model's score is ${item.nsfw_score.toFixed(3)}.`,
        ),
        make('span', { class: 'muted' }, `${item.answers} answers, ${item.model}`),
        state,
        make(
          'span',
          { class: 'buttons' },
          choose(`Confirm ${item.label}`, item.label, item.label),
          choose('Set aside', null, ''),
        ),
      ),
    )
  }

  new IntersectionObserver(() => shown(root) && load()).observe(root)
}

function stateOf(confirmed) {
  if (confirmed == null) return 'Not looked at yet'
  return confirmed ? `Training label: ${confirmed}` : 'Set aside'
}
