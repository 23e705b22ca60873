// The log's filter: what the fields say, as the query of a page or an export.

/**
 * @typedef {object} Filter What the fields of the form contain; empty texts filter nothing.
 * @property {string} reviewer
 * @property {string} label
 * @property {string} decision A key of `DECISIONS`.
 * @property {string} model
 * @property {string} reason
 * @property {string} category That the reviewer named.
 * @property {string} since The first day.
 * @property {string} until The last day.
 * @property {string} search
 * @property {string} sha256
 */

/** @type {Filter} */
export const EVERYTHING = {
  reviewer: '',
  label: '',
  decision: '',
  model: '',
  reason: '',
  category: '',
  since: '',
  until: '',
  search: '',
  sha256: '',
}

/** @type {Record<string, Record<string, string>>} */
export const DECISIONS = {
  'Disagreements in force': { agrees: 'false', undone: 'false' },
  'Agreements in force': { agrees: 'true', undone: 'false' },
  Undone: { undone: 'true' },
}

const HASH = /^[0-9a-f]{4,64}$/i
const LAST_DAY = '9999-12-31'

/**
 * The query of a filter. A hash that is not complete enough to search for is left out.
 *
 * @param {Filter} filter
 * @returns {URLSearchParams}
 */
export function queryOf(filter) {
  const { reviewer, label, decision, model, reason, category, since, until, search, sha256 } =
    filter
  const query = new URLSearchParams()
  const values = {
    reviewer,
    label,
    model,
    reason,
    category,
    since,
    until: until && until < LAST_DAY ? dayAfter(until) : '',
    search: search.trim(),
    sha256: isHash(sha256) ? sha256.trim() : '',
    ...DECISIONS[decision],
  }
  for (const [name, value] of Object.entries(values)) if (value) query.set(name, value)
  return query
}

/**
 * Whether a text is the start of a hash, long enough to search for.
 *
 * @param {string} text
 */
export const isHash = (text) => HASH.test(text.trim())

/** @param {string} day As a date field has it: 2026-01-31. */
function dayAfter(day) {
  const moment = new Date(`${day}T00:00:00Z`)
  moment.setUTCDate(moment.getUTCDate() + 1)
  return moment.toISOString().slice(0, 10)
}
