// What can be taken back, the last action first. One undo at a time, and never past an action that
// is still on its way.

/** A history without limit. */
export function makeHistory() {
  const steps = []
  let undoing = Promise.resolve()

  /** Remembers an action. `sent` resolves to what takes it back, or to null when it failed. */
  function add(sent) {
    steps.push(sent)
  }

  async function once() {
    while (steps.length) {
      const step = steps.pop()
      const takeBack = await step
      if (!takeBack) continue
      try {
        return await takeBack()
      } catch (error) {
        steps.push(step)
        throw error
      }
    }
    return null
  }

  /** Takes back the last action. Resolves to what that gave, or to null when there was none. */
  function undoLast() {
    undoing = undoing.then(once, once)
    return undoing
  }

  return { add, undoLast }
}
