// Runs in the page before its scripts: a server of decisions that answers at once and keeps a journal
// of what was pressed, what was on the stage, and what was asked of the server.
;(() => {
  const real = window.fetch.bind(window)
  const journal = []
  const PIXEL =
    'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII='
  const PREVIEW = `data:image/png;base64,${PIXEL}`
  const bytes = Uint8Array.from(atob(PIXEL), (character) => character.charCodeAt(0))
  const images = new Map() // by SHA-256
  const misclassified = [] // settled as the label that their names begin with
  const decisions = []
  let serial = 0

  const make = (name) => {
    serial += 1
    const full = name ?? `${serial % 2 ? 'nsfw' : 'normal'} ${serial}.png`
    const score = full.startsWith('nsfw') ? 0.9 : 0.1 // a name begins with the model's label
    const image = {
      name: full,
      sha256: String(serial).padStart(64, '0'),
      entry_id: serial,
      nsfw_score: score,
      label: score > 0.5 ? 'nsfw' : 'normal',
      action: 'review',
      error: null,
      probabilities: { normal: 1 - score, nsfw: score },
      width: 4,
      height: 3,
      format: 'PNG',
      placeholder: null,
      kept: false,
      decision: null,
      model: 'scripted',
      revision: 'r1',
      backend: 'test',
    }
    images.set(image.sha256, image)
    return image
  }
  const card = (sha256) => ({ ...images.get(sha256) })
  const byEntry = (entry) => [...images.values()].find((image) => image.entry_id === Number(entry))
  const note = (kind, image, values = {}) => journal.push({ kind, image: image.name, ...values })

  const record = (body) => {
    const image = images.get(body.image_sha256)
    const decision = {
      decision_id: decisions.length + 1,
      reviewer_label: body.label,
      model_label: image.label,
      agrees: body.label === 'unsure' ? null : body.label === image.label,
      reasons: body.reasons,
      note: body.note,
      nsfw_score: image.nsfw_score,
      threshold: body.threshold,
      model: image.model,
      kept: false,
    }
    decisions.push({ image, decision, batch: body.batch_id, undone: false })
    note('decision', image, { label: body.label, reasons: body.reasons })
    return decision
  }
  const undo = (entry) => {
    entry.undone = true
    note('undo', entry.image)
    const standing = decisions.findLast(({ image, undone }) => image === entry.image && !undone)
    return standing?.decision ?? null
  }

  const settle = (name) => {
    const { entry_id: prediction_id, ...image } = make(name)
    misclassified.push({
      ...image,
      prediction_id,
      placeholder: PREVIEW,
      answers: 2,
      confirmed: null,
      reasons: [],
      notes: ['A painting.'],
    })
  }
  const label = (id, confirmed) => {
    const item = misclassified.find(({ prediction_id }) => prediction_id === Number(id))
    item.confirmed = confirmed
    note('training', item, { label: confirmed ?? 'withdrawn' })
  }

  const routes = [
    [
      'queue/claim',
      ({ count, first }) => {
        const wanted = first ? [byEntry(first)] : Array.from({ length: count }, () => make())
        return { items: wanted.map(({ sha256 }) => card(sha256)), waiting: 1000 }
      },
    ],
    ['queue/renew', ({ entries }) => ({ entries })],
    ['queue/release', () => ({ released: true })],
    ['queue/summary', () => ({ waiting: 1000, oldest_entered_at: null, by_reason: {}, hidden: 0 })],
    ['queue/entries/(\\d+)/unskip', (_, entry) => note('unskip', byEntry(entry))],
    ['queue/(\\d+)/skip', (_, entry) => note('skip', byEntry(entry))],
    [
      'queue/second-opinion',
      ({ image_sha256: id }) => {
        note('escalate', images.get(id))
        return { asked: true }
      },
    ],
    ['queue/second-opinion/withdraw', ({ image_sha256: id }) => note('withdraw', images.get(id))],
    ['decisions', record],
    ['decisions/(\\d+)/undo', (_, id) => ({ standing: undo(decisions[id - 1]), kept: true })],
    ['batches', ({ answers }) => ({ decisions: answers.map(record) })],
    [
      'batches/([^/]+)/undo',
      (_, batch) => {
        const own = decisions.filter((entry) => entry.batch === batch && !entry.undone)
        own.forEach(undo)
        return { undone: own.map(({ decision }) => decision.decision_id) }
      },
    ],
    ['recent', () => ({ images: [] })],
    ['gallery/batches', () => ({ batches: [] })],
    ['images', (_, __, query) => ({ ...make(query.get('name')), placeholder: PREVIEW })],
    [
      'training',
      () => ({
        groups: misclassified.map((item) => [item]),
        total: misclassified.length,
        hidden: 0,
      }),
    ],
    ['training/(\\d+)', (body, id) => label(id, body.label ?? '')],
    ['training/(\\d+)/withdraw', (_, id) => label(id, null)],
  ].map(([path, respond]) => [new RegExp(`/desk/${path}$`), respond])

  window.fetch = async (input, options = {}) => {
    const { pathname, searchParams } = new URL(input.url ?? input, location.href)
    for (const [pattern, respond] of routes) {
      const match = pattern.exec(pathname)
      if (!match) continue
      const body = typeof options.body === 'string' ? JSON.parse(options.body) : null
      const answer = respond(body, match[1], searchParams) ?? {}
      return { ok: true, status: 200, headers: new Headers(), json: async () => answer }
    }
    if (pathname.endsWith('/desk/pictures')) {
      return { ok: true, status: 200, headers: new Headers(), blob: async () => new Blob([bytes]) }
    }
    if (pathname.endsWith('/desk/status')) {
      const status = await (await real(input, options)).json()
      const answer = { ...status, require_seen: [], require_reason: false }
      return { ok: true, status: 200, headers: new Headers(), json: async () => answer }
    }
    return real(input, options)
  }

  /** Of the card that keys act on: the loupe's, else the focused one. */
  const nameInGrid = (selector) => {
    const card = document.querySelector('.loupe')
      ? document.querySelector(`${selector} .card[tabindex="0"]`)
      : document.activeElement?.closest(`${selector} .card`)
    return card?.querySelector('.name')?.title
  }
  const STAGES = {
    Queue: () => document.querySelector('#queue-stage figcaption .name')?.title,
    Review: () => document.querySelector('#review-preview figcaption .name')?.title,
    Gallery: () => nameInGrid('#grid'),
    Relabel: () => nameInGrid('#relabel'),
  }
  let tab = ''
  const stage = () => STAGES[tab]?.() ?? null
  window.addEventListener(
    'keydown',
    ({ key, ctrlKey }) => {
      journal.push({ kind: 'key', key: (ctrlKey ? 'Control+' : '') + key, stage: stage() })
    },
    true,
  )

  window.desk = {
    /** Names the tab whose stage is written down, and empties the journal. */
    watch(name) {
      tab = name
      journal.length = 0
    },
    /** Begins a sequence with the focus on an element, after it was on those before it. */
    begin(...selectors) {
      const open = document.querySelector('dialog[open], .decision-form, .loupe')
      if (open?.checkVisibility()) throw new Error(`still open: ${open.className}`)
      for (const selector of selectors) document.querySelector(selector).focus()
      journal.push({ kind: 'begin' })
    },
    settle,
    /** Adds an image to a tab that has none. */
    fill(selector, ...names) {
      const files = new DataTransfer()
      for (const name of names) files.items.add(new File([name], name, { type: 'image/png' }))
      const input = document.querySelector(`${selector} input[type=file]`)
      input.files = files.files
      input.dispatchEvent(new Event('change', { bubbles: true }))
    },
    /** The center of a button with these words, and writes the click down; null without one. */
    aim(words) {
      const loupe = document.querySelector('.loupe')?.checkVisibility() // covers all but dialogs
      const panels = document.querySelectorAll(
        loupe ? 'dialog[open]' : '.review-panel, dialog[open], .card:focus-within',
      )
      const buttons = [...panels].flatMap((panel) => [
        ...panel.querySelectorAll(
          '.decision-buttons button, .decision-form button, .quick-buttons button',
        ),
      ])
      const button = buttons.find((one) => one.offsetParent && one.firstChild.textContent === words)
      if (!button) return null
      button.scrollIntoView({ block: 'nearest', behavior: 'instant' })
      const { x, y, width, height } = button.getBoundingClientRect()
      journal.push({ kind: 'click', key: words, stage: stage(), disabled: button.disabled })
      return [x + width / 2, y + height / 2]
    },
    read() {
      return journal.splice(0)
    },
  }
})()
