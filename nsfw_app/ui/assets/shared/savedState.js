// What the page says about copies of the data: in a dataset repository, or as snapshots.

/**
 * @typedef {object} SavedState State of the copies, as in the heartbeat.
 * @property {string} target The repository or directory.
 * @property {string | null} last_success_at When everything was saved; null before the first time.
 * @property {string | null} error What is wrong; null if nothing is.
 * @property {number} pending Rows that are not saved yet.
 * @property {string | null} maintenance_error Why files were not rolled up, though all is saved.
 * @property {boolean} replaced Whether another server was restored from the copies.
 */

/**
 * The time of day; with the date where that is not today's.
 *
 * @param {string} moment ISO 8601.
 * @param {Date} today
 */
export function describeTime(moment, today) {
  const at = new Date(moment)
  const time = at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })
  return at.toDateString() === today.toDateString() ? time : `${at.toLocaleDateString()} ${time}`
}

/**
 * The short text in the bar at the top.
 *
 * @param {SavedState} state
 * @param {Date} today
 */
export function describeSaved({ last_success_at: moment, error }, today) {
  if (error) return 'failing' // the banner says since when
  return moment ? describeTime(moment, today) : 'not yet'
}

/**
 * The sentence in the banner; empty while all works.
 *
 * @param {SavedState | null | undefined} state
 * @param {Date} today
 */
export function describeFailure(state, today) {
  if (!state) return ''
  const { target, last_success_at: moment, error, maintenance_error: reason, replaced } = state
  if (!error)
    return reason ? `All is saved in ${target}. Its files were not rolled up. ${reason}` : ''
  if (replaced) return error // changes are saved, and are not restored
  const since = moment ? `since ${describeTime(moment, today)}` : 'yet'
  return `Nothing was saved in ${target} ${since}; changes wait on this server. ${error}`
}
