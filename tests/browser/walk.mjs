// A walk through every tab by keys and clicks, in Firefox or Chromium: reveal, decide, undo, leave the
// window and come back. Uses WebDriver BiDi, which both browsers speak.
//
//   node walk.mjs (firefox|chrome) EXECUTABLE URL IMAGE...
//
// Exits with 1 when an expectation fails or the page reports an error on its console.

import assert from 'node:assert/strict'
import puppeteer from 'puppeteer-core'

const STEP_MS = 15_000
const [name, executablePath, url, ...images] = process.argv.slice(2)

const browser = await puppeteer.launch({
  browser: name,
  executablePath,
  protocol: 'webDriverBiDi',
  args:
    name === 'chrome' ? ['--no-sandbox', '--disable-gpu', '--disable-background-networking'] : [],
})
/** @type {string[]} */
const errors = []

try {
  const page = await browser.newPage()
  page.setDefaultTimeout(STEP_MS)
  page.on('console', (message) => message.type() === 'error' && errors.push(message.text()))
  page.on('pageerror', (error) => errors.push(error.message))
  await page.setViewport({ width: 1440, height: 900 })
  await page.goto(url)
  await walk(page)
} finally {
  await browser.close()
}
assert.deepEqual(errors, [], 'errors on the console')

/** @param {import('puppeteer-core').Page} page */
async function walk(page) {
  /**
   * Waits until elements of the page satisfy a condition.
   *
   * @param {string} what
   * @param {string} selector
   * @param {(elements: Element[], value: any) => unknown} condition Runs in the page.
   * @param {unknown} [value]
   */
  const expect = async (what, selector, condition, value = null) => {
    const holds = `(elements, value) => Boolean((${condition})(elements, value))`
    const check = (/** @type {any[]} */ ...[selector, holds, value]) => {
      const shown = [...document.querySelectorAll(selector)].filter((node) => node.offsetParent)
      return new Function(`return ${holds}`)()(shown, value)
    }
    await page.waitForFunction(check, {}, selector, holds, value).catch((error) => {
      throw new Error(`${what}: ${selector}`, { cause: error })
    })
  }
  const texts = (/** @type {string} */ selector, /** @type {string} */ text) =>
    expect(
      `it says "${text}"`,
      selector,
      (all, text) => all.some((e) => e.textContent?.includes(text)),
      text,
    )
  const count = (/** @type {string} */ selector, /** @type {number} */ number) =>
    expect(`there are ${number}`, selector, (all, number) => all.length === number, number)
  const tab = async (/** @type {string} */ word) => {
    await page.locator(`::-p-xpath(//button[@role="tab" and normalize-space()="${word}"])`).click()
    await expect(
      `${word} is open`,
      '[role="tab"][aria-selected="true"]',
      (all, word) => all.some((e) => e.textContent?.trim() === word),
      word,
    )
  }
  const upload = async (/** @type {string} */ selector, /** @type {string[]} */ files) => {
    const input = await page.waitForSelector(`${selector} input[type=file]`)
    await input?.uploadFile(...files)
  }
  const pixels = (/** @type {string} */ selector, /** @type {number} */ number) =>
    expect(
      `${number} are revealed`,
      `${selector} img.real`,
      (all, number) => all.filter((e) => e.complete && e.naturalWidth).length === number,
      number,
    )
  const reveal = async (/** @type {string} */ selector) => {
    await page.keyboard.down('v')
    await pixels(selector, 1)
    await page.keyboard.up('v')
    await count(`${selector} img.real`, 0)
  }

  await texts('.topbar', 'ready')
  const started = Date.now()
  const progress = (/** @type {string} */ step) =>
    console.log(`${Date.now() - started} ms: ${step}`)

  await upload('#image-input', [images[0]])
  await expect('it can be decided', '#agree', ([button]) => button && !button.disabled)
  await reveal('#review-preview')
  await page.keyboard.press('a')
  await texts('#review-decision .saved', 'Saved')
  await page.keyboard.press('Backspace')
  await texts('#review-decision .saved', 'Undone')
  progress('Review')

  await tab('Gallery')
  await upload('#gallery-upload', images)
  await count('#grid .card', images.length)
  await page.locator('#grid .card').click()
  await reveal('#grid')
  await page.keyboard.press('2')
  await expect('it is decided', '#grid .card', (all) => all.some((e) => e.dataset.decision))
  await page.keyboard.press('Backspace')
  await expect('it is undone', '#grid .card', (all) => !all.some((e) => e.dataset.decision))
  progress('Gallery')

  await page.keyboard.press('b')
  await pixels('#grid', images.length)
  await page.keyboard.press('b')
  await count('#grid img.real', 0)
  await leaveAndReturn(page)
  await count('#grid img.real', 0)
  progress('Gallery, the window left and entered')

  await tab('Queue')
  await expect(
    'an image is on the stage',
    ':is(#queue-stage, #queue-preview) .preview',
    (all) => all.length === 1,
  )
  await reveal(':is(#queue-stage, #queue-preview)')
  await page.keyboard.press('1')
  await texts('#queue-decision .saved', 'Saved')
  await page.keyboard.press('Backspace')
  await texts('#queue-decision .saved', 'Undone')
  progress('Queue')

  await tab('Relabel')
  await expect('there are cards', '#relabel .card', (all) => all.length > 1)
  await page.locator('#relabel .card').click()
  await reveal('#relabel')
  await page.keyboard.press('a')
  await texts('#relabel .message', 'Saved')
  await page.keyboard.press('Backspace')
  await texts('#relabel .message', 'Undone')
  progress('Relabel')

  await tab('Insights')
  await expect('it is drawn', '#insights .insight', (all) => all.length)
  await tab('Log')
  await expect('it has rows', '#log-table tbody tr', (all) => all.length)
  await tab('Model')
  await texts('#model-facts', 'BSD-2-Clause')
  await page.keyboard.press('?')
  await count('dialog.keys-overlay[open] h2', 1)
  await page.keyboard.press('?')
  await count('dialog.keys-overlay[open] h2', 0)
  progress('Insights, Log, Model, keys')
}

/**
 * Activates another window and comes back; the state of each Blur button must stay.
 *
 * @param {import('puppeteer-core').Page} page
 */
async function leaveAndReturn(page) {
  const states = () =>
    page.$$eval('button', (buttons) =>
      buttons
        .filter((button) => button.checkVisibility() && button.textContent?.startsWith('Blur'))
        .map((button) => `${button.textContent} ${button.getAttribute('aria-pressed')}`),
    )
  const before = await states()
  assert(before.length > 0, 'there is a Blur button')
  await page.evaluate(() => {
    window.left = 0
    window.addEventListener('blur', () => {
      window.left += 1
    })
  })
  const other = await page.browser().newPage()
  await other.bringToFront()
  await page.bringToFront()
  await other.close()
  assert((await page.evaluate(() => window.left)) > 0, 'the window was left')
  assert.deepEqual(await states(), before, 'Blur has not flipped')
}
