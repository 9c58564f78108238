// The README with Next.js 16: its ways, those that only its text has, development, and plain HTML.
import assert from 'node:assert/strict'
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'

import { ARTEFACTS, pictured, serveFiles, servePage } from './harness.mjs'
import { backgrounds, blursIn, browser, byLoader, byPath, follow, ingress, open, showsAll, startNginx, world } from './readme-ways.mjs'

follow(16)

describe('the README, Next.js 16', () => {
  test('ingress', async (t) => {
    const here = await ingress(t, 16)
    // While Pixgate is down, Next.js's own optimizer stands in for it.
    await here.running[0].stop()
    await showsAll(t, here.shop, { by: null, name: '16-ingress-down' })
  })

  test('path', (t) => byPath(t, 16))

  test('loader', async (t) => {
    const here = await byLoader(t, 16)
    await here.stop()
    await assert.rejects(here.perform('npx next build'), /withPixgate: no Pixgate at .*ECONNREFUSED.*SKIP_PIXGATE_CHECK=1/s)
  })

  test('own', async (t) => {
    const here = await world('own', 'loader')
    t.after(here.stop)
    await here.follow("### The loader on the app's own host")
    const nginx = await startNginx(here)
    t.after(nginx.stop)
    await blursIn(t, here.shop, `${here.shop}/image?`)
    await showsAll(t, here.shop, { name: '16-own' })
  })

  test('development without Pixgate', async (t) => {
    const here = await world('path')
    t.after(here.stop)
    await here.follow('### In development', { only: (command) => !command.startsWith('pixgate ') })
    await showsAll(t, here.dev, { by: null, name: '16-path-next-dev' })
  })

  for (const [way, mode, from] of [['loader', 'loader', 'loader'], ['own', 'loader', 'own'], ['path', 'path', 'loader'], ['ingress', 'ingress', 'own']]) {
    test(`development, ${way}`, async (t) => {
      const here = await world(from)
      t.after(here.stop)
      const config = () => readFileSync(join(here.cwd, 'next.config.mjs'), 'utf8')
      for (const made of ['.next', 'pixgate-manifest.json']) rmSync(join(here.cwd, made), { recursive: true, force: true })
      here.picture('public/hero.jpg', 'coffee.jpg')
      const found = config()
      const before = found.replace(/\}\)\s*$/, `}, { mode: '${mode}' })\n`)
      here.write('next.config.mjs', before)
      if (way === 'loader') {
        here.write('app/misplaced/page.jsx', `'use client'\n${MISPLACED}`)
        here.write('pages/misplaced-too.jsx', MISPLACED)
      }
      t.after(() => {
        here.write('next.config.mjs', found)
        for (const made of ['app/misplaced', 'pages']) rmSync(join(here.cwd, made), { recursive: true, force: true })
      })
      await here.follow('### In development')
      const page = await showsAll(t, here.dev, { name: `16-${way}-dev` })

      // A file that is edited is seen with the next reload.
      const first = await colour(page)
      here.picture('public/hero.jpg', 'dusk.jpg')
      await page.reload()
      await pictured(page)
      const second = await colour(page)
      assert.ok(distance(first, second) > 30, `the old picture is shown: ${first}, ${second}`)

      // A host that is missing is said to be, and there as soon as it is named, with nothing started again.
      const refused = await fetch(`${here.dev}/other`)
      const said = await refused.text()
      assert.equal(refused.status, 500)
      assert.match(said, /hostname \S*localhost\S* is not configured under images in your/)
      here.write('next.config.mjs', before.replace('remotePatterns: [', "remotePatterns: [new URL('https://other.example.com/**'), "))
      for (const end = performance.now() + 60_000; ; await new Promise((go) => setTimeout(go, 250))) {
        if (await fetch(`${here.dev}/other`).then((answer) => answer.ok, () => false)) break
        assert.ok(performance.now() < end, here.running[0].output())
      }
      const other = await open(t, `${here.dev}/other`)
      other.release()
      await pictured(other.page)
      assert.deepEqual(other.trouble, [])
      if (way === 'loader') await tellsApart(t, here)
    })
  }

  test('static export', async (t) => {
    const here = await world('loader')
    t.after(here.stop)
    rmSync(join(here.cwd, '.next'), { recursive: true, force: true })
    await here.follow('### A static export')
    here.write('app/page.jsx', readFileSync(join(here.cwd, 'app/page.jsx'), 'utf8').replace(/.*dynamic = .*\n/, ''))
    await here.perform('pixgate serve --next-manifest pixgate-manifest.json --base-url http://web:3000')
    await here.perform('npx next build')
    const files = await serveFiles(join(here.cwd, 'out'), here.port)
    t.after(files.stop)
    await blursIn(t, files.url, `${here.pixgate}/image?`)
    await showsAll(t, files.url, { name: '16-export' })
  })

  test('plain', async (t) => {
    const here = await world('plain')
    t.after(here.stop)
    await here.follow('### Without Next.js')
    // Any web server will do for the page.
    const server = await servePage((path) => readFileSync(join(here.cwd, path), 'utf8'))
    t.after(server.stop)
    const { page, asked, answers, trouble, release } = await open(t, `${server.url}/index.html`)
    const [early] = await backgrounds(page)
    assert.ok(early.includes('/placeholder?'), early)
    await page.waitForResponse((response) => response.url().includes('/placeholder?')).catch(() => {})
    await page.screenshot({ path: join(ARTEFACTS, 'readme-plain-early.png') })
    const before = await page.evaluate(() => JSON.stringify(document.images[0].getBoundingClientRect()))
    release()
    await pictured(page)
    await page.screenshot({ path: join(ARTEFACTS, 'readme-plain.png') })
    assert.equal(await page.evaluate(() => JSON.stringify(document.images[0].getBoundingClientRect())), before)
    assert.deepEqual([trouble, await page.evaluate(() => window.shifts)], [[], []])
    assert.deepEqual([asked.length, answers.length], [2, 1], 'the placeholder and one picture')
    assert.equal(answers[0].headers()['content-type'], 'image/avif')
    assert.match(answers[0].url(), /&f=avif&w=828$/)
    const short = await open(t, `${server.url}/short.html`)
    short.release()
    await pictured(short.page)
    assert.deepEqual(short.trouble, [])
    assert.match(short.asked.join(), /&w=384$/)
    assert.match(short.answers[0].headers()['content-type'], /^image\/(?:avif|webp)$/)
    // A browser that knows neither type is left with the <img>.
    const old = await (await browser.newContext({ userAgent: 'old' })).newPage()
    t.after(() => old.context().close())
    await old.goto(`${server.url}/index.html`)
    await old.evaluate(() => document.querySelectorAll('source').forEach((source) => source.remove()))
    await pictured(old)
    assert.match(await old.evaluate(() => document.images[0].currentSrc), /&f=jpeg&w=828$/)
  })
})

/** Only development compares what server and browser say of a page, and what cannot work where it is used says what does. */
async function tellsApart(t, here) {
  const { page, trouble, release } = await open(t, here.dev)
  release()
  await pictured(page)
  await page.waitForFunction(() => Object.keys(document.images[0]).some((key) => key.startsWith('__reactProps')))
  await page.waitForTimeout(300)
  assert.deepEqual(trouble, [])
  for (const name of ['misplaced', 'misplaced-too']) {
    const answer = await fetch(`${here.dev}/${name}`)
    assert.equal(answer.status, 500)
    // What Next.js shows over the page is in it.
    assert.match(await answer.text(), /PixgateImage\S* works in server components only.*use \S+Image\S* of next\/image/)
  }
}

const MISPLACED = `import { PixgateImage } from '@pixgate/next'\nexport default function Misplaced() { return <PixgateImage src="/hero.jpg" alt="" /> }\n`

/** The mean colour of the file of public/ as it is on the screen. */
async function colour(page) {
  const shot = await page.locator('#hero').screenshot()
  return page.evaluate(async (bytes) => {
    const drawing = new OffscreenCanvas(1, 1).getContext('2d')
    drawing.imageSmoothingQuality = 'high'
    drawing.drawImage(await createImageBitmap(new Blob([new Uint8Array(bytes)])), 0, 0, 1, 1)
    return [...drawing.getImageData(0, 0, 1, 1).data.slice(0, 3)]
  }, [...shot])
}

const distance = (one, other) => Math.hypot(...one.map((value, channel) => value - other[channel]))
