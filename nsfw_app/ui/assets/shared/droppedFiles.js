// Files that were dropped or chosen, folders included: walked recursively, each file named with its
// path. What is left out is listed with the reason.

/**
 * @typedef {object} LeftOut
 * @property {string} name
 * @property {string} why
 */
/** @typedef {{ files: File[], leftOut: LeftOut[] }} Found */

const HIDDEN = 'a hidden file'
const OTHER_TYPE = 'not an image'

const inOrder = new Intl.Collator(undefined, { numeric: true })

/**
 * The files of a drop. Has to be called while the event is dispatched: its data is gone afterwards.
 *
 * @param {DataTransfer | null} transfer
 * @returns {Promise<Found>}
 */
export async function droppedFiles(transfer) {
  const entries = [...(transfer?.items ?? [])].flatMap((item) => item.webkitGetAsEntry?.() ?? [])
  if (!entries.some((entry) => entry.isDirectory)) {
    return { files: [...(transfer?.files ?? [])], leftOut: [] }
  }
  /** @type {Found} */
  const found = { files: [], leftOut: [] }
  for (const entry of entries) await walk(entry, found)
  return found
}

/**
 * The files of an input; of a folder, when the input takes folders.
 *
 * @param {Iterable<File>} list
 * @returns {Found}
 */
export function chosenFiles(list) {
  /** @type {Found} */
  const found = { files: [], leftOut: [] }
  for (const file of list) {
    if (file.webkitRelativePath) sort(file, file.webkitRelativePath, found)
    else found.files.push(file)
  }
  found.files.sort((a, b) => inOrder.compare(a.name, b.name))
  return found
}

/**
 * @param {FileSystemEntry} entry
 * @param {Found} found
 */
async function walk(entry, found) {
  const path = entry.fullPath.replace(/^\//, '')
  try {
    if (entry.isDirectory) {
      const children = await childrenOf(/** @type {FileSystemDirectoryEntry} */ (entry))
      for (const child of children) await walk(child, found)
    } else {
      sort(await fileOf(/** @type {FileSystemFileEntry} */ (entry)), path, found)
    }
  } catch (error) {
    found.leftOut.push({
      name: path,
      why: `could not be read: ${/** @type {Error} */ (error).message}`,
    })
  }
}

/**
 * Takes a file of a folder, or lists it as left out.
 *
 * @param {File} file
 * @param {string} path
 * @param {Found} found
 */
function sort(file, path, found) {
  const hidden = path.split('/').some((part) => part.startsWith('.'))
  // An unknown type may be an image, as one without an extension: the server finds out.
  const other = file.type !== '' && !file.type.startsWith('image/')
  if (hidden || other) found.leftOut.push({ name: path, why: hidden ? HIDDEN : OTHER_TYPE })
  else found.files.push(named(file, path))
}

/**
 * The same bytes, not copied, named with their path.
 *
 * @param {File} file
 * @param {string} path
 */
const named = (file, path) =>
  new File([file], path, { type: file.type, lastModified: file.lastModified })

/**
 * A directory is read in parts, of 100 entries in Chromium, until a part is empty.
 *
 * @param {FileSystemDirectoryEntry} directory
 */
async function childrenOf(directory) {
  const reader = directory.createReader()
  /** @type {FileSystemEntry[]} */
  const children = []
  for (;;) {
    /** @type {FileSystemEntry[]} */
    const part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject))
    if (!part.length) return children.sort((a, b) => inOrder.compare(a.name, b.name))
    children.push(...part)
  }
}

/**
 * @param {FileSystemFileEntry} entry
 * @returns {Promise<File>}
 */
const fileOf = (entry) => new Promise((resolve, reject) => entry.file(resolve, reject))
