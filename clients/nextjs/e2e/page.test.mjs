// The example in a real browser: what a reader sees, asks for and is spared.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'

import { startFront } from '../../../examples/nextjs/front.mjs'
import { startOrigin } from '../../../examples/nextjs/origin.mjs'
import { ARTEFACTS, isPicture, pictured, scrollThrough, sourceOf, startBrowser, startExample, startPixgate, watchShifts } from './harness.mjs'

const WAYS = ['ingress', 'path', 'loader', 'own']

let browser
let origin
let pixgate
let front
const running = []
/** Each way on its route, all under one address, as a reader meets them. */
const apps = {}

before(async () => {
  browser = await startBrowser()
  origin = await startOrigin()
  pixgate = await startPixgate()
  const addresses = {}
  for (const mode of WAYS) {
    const app = await startExample(mode, origin.url)
    running.push(app)
    addresses[mode] = app.address
  }
  front = await startFront({ apps: addresses, pixgate: pixgate.url })
  for (const mode of WAYS) apps[mode] = { url: `${front.url}/${mode}` }
})

after(async () => {
  await browser?.close()
  for (const one of [front, ...running, pixgate, origin]) await one?.stop()
})

/** A page of its own, with what it asked for and what it complained about. */
async function open(t, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options })
  t.after(() => context.close())
  const page = await context.newPage()
  const seen = { page, context, asked: [], failed: [], console: [] }
  page.on('request', (request) => isPicture(request.url()) && seen.asked.push(request.url()))
  page.on('response', (response) => response.status() >= 400 && seen.failed.push(`${response.status()} ${response.url()}`))
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && seen.console.push(message.text()))
  page.on('pageerror', (error) => seen.console.push(String(error)))
  return seen
}

for (const way of WAYS) {
  describe(way, () => {
    test('every picture of every page arrives, from Pixgate, none twice, and nobody complains', async (t) => {
      for (const path of ['gallery', 'people', 'chat', 'shop', 'plain']) {
        const { page, asked, failed, console } = await open(t)
        const headers = []
        page.on('response', (response) => isPicture(response.url()) && headers.push(response.headers()))
        await page.goto(`${apps[way].url}/${path}`, { waitUntil: 'load' })
        await scrollThrough(page)
        await pictured(page)
        const shown = await page.evaluate(() => [...document.images].map((image) => [image.currentSrc, image.naturalWidth]))
        assert.ok(shown.length >= 2 && shown.every(([src, width]) => src && width > 0), JSON.stringify(shown))
        assert.ok(shown.every(([src]) => isPicture(src)), path)
        // Plain HTML is written with the service's address unless that is the app's own.
        const from = way === 'own' || (way === 'ingress' && path !== 'plain') ? front.url : pixgate.url
        assert.ok(asked.every((url) => new URL(url).origin === from), `${path}: not all from ${from}: ${asked}`)
        assert.deepEqual([...asked].sort(), [...new Set(asked)].sort(), `${path}: a URL was fetched twice`)
        assert.deepEqual(asked.map(sourceOf).sort(), [...new Set(asked.map(sourceOf))].sort(), `${path}: a picture was fetched at two sizes`)
        assert.equal(headers.length, asked.length)
        assert.ok(headers.every((fields) => fields['cache-status']?.startsWith('pixgate;')), `${path}: a picture that is not Pixgate's`)
        assert.deepEqual(failed, [])
        assert.deepEqual(console, [])
        await page.evaluate(() => scrollTo(0, 0))
        await page.screenshot({ path: join(ARTEFACTS, `${way}-${path}.png`), fullPage: true })
      }
    })

    test('what is below the fold is asked for when it is scrolled to', async (t) => {
      const { page, asked } = await open(t)
      await page.goto(`${apps[way].url}/gallery`, { waitUntil: 'networkidle' })
      const before = new Set(asked.map(sourceOf))
      const places = await page.evaluate(() => [...document.images].map((image) => [new URL(image.src).searchParams.get('url'), image.getBoundingClientRect().top - innerHeight]))
      assert.equal(new Set(places.map(([src]) => src)).size, 24)
      // Chromium asks for what is within 1250 px of the viewport on a fast network, 2500 px on a slow one.
      const far = places.filter(([, below]) => below > 2500)
      assert.ok(far.length >= 4, `${far.length} are far below`)
      assert.deepEqual(far.filter(([src]) => before.has(src)), [], 'asked for before they are near')
      assert.deepEqual(places.filter(([src, below]) => below < 0 && !before.has(src)), [], 'what is seen is asked for')
      for (const [src, below] of [far[0], far.at(-1)]) {
        await page.evaluate((top) => scrollTo(0, top), below + 800)
        for (const end = performance.now() + 10_000; !asked.some((url) => sourceOf(url) === src); await page.waitForTimeout(20)) {
          assert.ok(performance.now() < end, `${src} is not asked for when it is scrolled to`)
        }
      }
      await page.evaluate(() => scrollTo(0, 0))
      await scrollThrough(page)
      await pictured(page)
      assert.equal(new Set(asked.map(sourceOf)).size, 24)
    })

    test('nothing moves: Cumulative Layout Shift is 0', async (t) => {
      const devices = [{ viewport: { width: 390, height: 844 }, deviceScaleFactor: 2 }, { viewport: { width: 1280, height: 800 } }]
      for (const [path, device] of ['gallery', 'people', 'chat', 'shop'].flatMap((path) => devices.map((device) => [path, device]))) {
        const { page } = await open(t, device)
        await watchShifts(page)
        // Pictures that come late are those that push.
        await page.route((url) => isPicture(url), async (route) => {
          await new Promise((go) => setTimeout(go, 300))
          await route.continue()
        })
        await page.goto(`${apps[way].url}/${path}`, { waitUntil: 'load' })
        await scrollThrough(page)
        await pictured(page)
        await page.waitForTimeout(100)
        assert.deepEqual(await page.evaluate(() => window.shifts), [], path)
      }
    })

    for (const [device, viewport] of [['phone', { width: 390, height: 844 }], ['desktop', { width: 1280, height: 800 }]]) {
      for (const deviceScaleFactor of [1, 2, 3]) {
        test(`the width that suits a ${device} of ${deviceScaleFactor} dots a pixel`, async (t) => {
          const { page } = await open(t, { viewport, deviceScaleFactor })
          for (const path of ['gallery', 'people']) {
            await page.goto(`${apps[way].url}/${path}`, { waitUntil: 'load' })
            await scrollThrough(page)
            await pictured(page)
            const pictures = await page.evaluate(() =>
              [...document.images].map((image) => {
                const probe = document.createElement('div')
                const sizes = (image.sizes || '').split(',').map((part) => /^\s*(\(.*\))?\s*(\S+)\s*$/.exec(part))
                const size = sizes.find((match) => match && (!match[1] || matchMedia(match[1]).matches))?.[2]
                probe.style.width = size ?? `${image.width}px`
                document.body.append(probe)
                const slot = probe.getBoundingClientRect().width
                probe.remove()
                return { slot, current: image.currentSrc, srcset: image.srcset.split(', ').map((part) => part.trim().split(' ')) }
              }),
            )
            assert.ok(pictures.length >= 6)
            for (const { slot, current, srcset } of pictures) {
              const densities = srcset.map(([url, descriptor]) => ({ url, density: descriptor.endsWith('w') ? Number.parseInt(descriptor, 10) / slot : Number.parseInt(descriptor, 10) }))
              assert.equal(current, new URL(chosen(densities, deviceScaleFactor), apps[way].url).href, `${path}: a slot of ${slot} px`)
            }
          }
        })
      }
    }
  })
}

/** How Chromium chooses: the first density that is enough, else the last. */
function chosen(densities, dpr) {
  return (densities.find(({ density }) => density >= dpr) ?? densities.at(-1)).url
}

describe('formats', () => {
  for (const [name, accept, type] of [
    ['AVIF to Chromium as it is', undefined, 'image/avif'],
    ['WebP where AVIF is not taken', 'image/webp,image/apng,*/*;q=0.8', 'image/webp'],
    ['JPEG where neither is', 'image/png,image/jpeg,*/*;q=0.5', 'image/jpeg'],
  ]) {
    test(name, async (t) => {
      for (const way of WAYS) {
        const { page } = await open(t)
        const types = new Map()
        page.on('response', (response) => isPicture(response.url()) && types.set(sourceOf(response.url()), response.headers()['content-type']))
        if (accept) await page.route((url) => isPicture(url), (route) => route.continue({ headers: { ...route.request().headers(), accept } }))
        await page.goto(`${apps[way].url}/gallery`, { waitUntil: 'load' })
        await scrollThrough(page)
        await pictured(page)
        const photographs = [...types].filter(([src]) => src.endsWith('.jpg'))
        assert.ok(photographs.length >= 20)
        // A picture that takes long as AVIF may be WebP at first: the service says so and chooses AVIF when asked again.
        const others = photographs.filter(([, seen]) => seen !== type)
        const interim = type === 'image/avif' ? others.filter(([, seen]) => seen === 'image/webp') : []
        assert.deepEqual(others.filter((one) => !interim.includes(one)), [], `${way}: ${JSON.stringify(others)}`)
        assert.ok(interim.length <= photographs.length / 4, `${way}: ${interim.length} of ${photographs.length} were WebP`)
        const cat = types.get(`${origin.url}/images/cat.webp`)
        assert.equal(cat, type, way)
        const logo = types.get(`${origin.url}/images/logo.png`)
        assert.equal(logo, type === 'image/jpeg' ? 'image/png' : type, `${way}: transparency`)
      }
    })
  }
})

describe('placeholders', () => {
  const background = (page) => page.evaluate(() => getComputedStyle(document.images[0]).backgroundImage)

  test('are there before the picture, and gone after it', async (t) => {
    const { page } = await open(t)
    let let_go
    const held = new Promise((go) => (let_go = go))
    await page.route((url) => isPicture(url), async (route) => {
      await held
      await route.continue()
    })
    await page.goto(`${apps.loader.url}/gallery`, { waitUntil: 'domcontentloaded' })
    const styles = await page.evaluate(() => [...document.images].map((image) => getComputedStyle(image).backgroundImage))
    assert.equal(styles.length, 24)
    // Not inside an SVG with a filter, as Next.js has it, which holds up the picture where there is no GPU.
    assert.ok(styles.every((style) => /^url\("data:image\/png;base64,[^"]+"\)$/.test(style)), 'every picture has one')
    assert.equal(new Set(styles.slice(0, 9)).size, 9, 'each its own')
    assert.equal(await page.evaluate(() => document.images[0].complete && document.images[0].naturalWidth > 0), false)
    const early = await page.screenshot({ path: join(ARTEFACTS, 'placeholder.png') })
    // The pixels in the middle of the hero are not those of the page behind it.
    const colours = await page.evaluate(async (bytes) => {
      const bitmap = await createImageBitmap(new Blob([new Uint8Array(bytes)]))
      const canvas = new OffscreenCanvas(bitmap.width, bitmap.height)
      const drawing = canvas.getContext('2d')
      drawing.drawImage(bitmap, 0, 0)
      const hero = document.images[0].getBoundingClientRect()
      const at = (x, y) => [...drawing.getImageData(hero.left + hero.width * x, hero.top + hero.height * y, 1, 1).data.slice(0, 3)]
      return [at(0.3, 0.1), at(0.3, 0.9)]
    }, [...early])
    const distance = Math.hypot(...colours[0].map((value, channel) => value - colours[1][channel]))
    assert.ok(distance > 40, `sky and ground look the same: ${JSON.stringify(colours)}`)
    let_go()
    await scrollThrough(page)
    await pictured(page)
    await page.waitForFunction(() => [...document.images].every((image) => getComputedStyle(image).backgroundImage === 'none'), undefined, { timeout: 5000 })
  })

  test('ThumbHash and BlurHash are there before the picture, look like it, and are gone after it', async (t) => {
    for (const path of ['chat', 'people']) {
      const { page } = await open(t)
      let release
      const held = new Promise((go) => (release = go))
      await page.route((url) => isPicture(url), (route) => held.then(() => route.continue()))
      await page.goto(`${apps.loader.url}/${path}`, { waitUntil: 'domcontentloaded' })
      const styles = await page.evaluate(() => [...document.images].map((image) => getComputedStyle(image).backgroundImage))
      assert.ok(styles.length >= 5 && styles.every((style) => style.startsWith('url("data:image/png;base64,')), path)
      assert.equal(new Set(styles).size, styles.length, 'each its own')
      await page.screenshot({ path: join(ARTEFACTS, `placeholder-${path}.png`) })
      release()
      await scrollThrough(page)
      await pictured(page)
      await page.waitForFunction(() => [...document.images].every((image) => getComputedStyle(image).backgroundImage === 'none'), undefined, { timeout: 5000 })
      // Both of a colour: the mean of the placeholder and that of the picture.
      const apart = await page.evaluate(async (styles) => {
        const mean = async (bitmap) => {
          const canvas = new OffscreenCanvas(8, 8)
          const drawing = canvas.getContext('2d')
          drawing.imageSmoothingQuality = 'high'
          drawing.drawImage(bitmap, 0, 0, 8, 8)
          const { data } = drawing.getImageData(0, 0, 8, 8)
          return [0, 1, 2].map((channel) => data.filter((_, at) => at % 4 === channel).reduce((a, b) => a + b) / 64)
        }
        const distances = []
        for (const [n, image] of [...document.images].entries()) {
          const early = await mean(await createImageBitmap(await (await fetch(styles[n].slice(5, -2))).blob()))
          const late = await mean(await createImageBitmap(await (await fetch(image.currentSrc)).blob()))
          distances.push(Math.hypot(...early.map((value, channel) => value - late[channel])))
        }
        return distances
      }, styles)
      assert.ok(apart.every((distance) => distance < 40), `${path}: ${apart}`)
    }
  })

  test('the service is asked once for a page of pictures', async (t) => {
    const fresh = await startExample('loader', origin.url, { env: { PIXGATE_URL: pixgate.url } })
    t.after(() => fresh.stop())
    const { page } = await open(t)
    const before = await counted()
    await page.goto(`${fresh.url}/gallery`, { waitUntil: 'commit' })
    await page.goto(`${fresh.url}/gallery`, { waitUntil: 'commit' })
    assert.equal((await counted()) - before, 1)
  })

  test('without the service for placeholders, pages are whole and quick', async (t) => {
    const alone = await startExample('loader', origin.url, { env: { PIXGATE_URL: 'http://127.0.0.1:9' } })
    t.after(() => alone.stop())
    for (const path of ['gallery', 'people', 'chat', 'shop']) {
      const { page, failed, console } = await open(t)
      const start = performance.now()
      await page.goto(`${alone.url}/${path}`, { waitUntil: 'domcontentloaded' })
      // Not the service's timeout, nor a wait for each picture: no more than a page.
      assert.ok(performance.now() - start < 5000)
      await scrollThrough(page)
      await pictured(page)
      assert.equal(await background(page), 'none')
      const ratios = await page.evaluate(() => [...document.images].map((i) => [i.width / i.height, i.naturalWidth / i.naturalHeight, getComputedStyle(i).objectFit]))
      assert.ok(ratios.every(([shown, own, fit]) => fit !== 'fill' || Math.abs(shown / own - 1) < 0.05), `${path}: distorted: ${JSON.stringify(ratios)}`)
      assert.deepEqual([failed, console], [[], []])
    }
  })

  /** Requests to /placeholders that the service has counted. */
  async function counted() {
    const text = await (await fetch(`${pixgate.admin}/metrics`)).text()
    return [...text.matchAll(/^pixgate_requests_total\{[^}]*route="\/placeholders"[^}]*\} (\d+)/gm)].reduce((sum, [, n]) => sum + Number(n), 0)
  }
})
