// Next.js 14, 15 and 16: one app in TypeScript, with both routers, built with the package and each of them, and looked at.
import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'

import { startOrigin } from '../../../examples/nextjs/origin.mjs'
import { ARTEFACTS, finish, freePort, holdPictures, isPicture, pictured, run, scrollThrough, sourceOf, startBrowser, startPixgate, watchShifts } from './harness.mjs'

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url))
const root = mkdtempSync(join(tmpdir(), 'pixgate-versions-'))
let browser
let origin
let pixgate
let tarball

before(async () => {
  browser = await startBrowser()
  origin = await startOrigin()
  // Pages that are built ahead need the service while they are built.
  pixgate = await startPixgate({ url: `http://127.0.0.1:${await freePort()}`, manifest: null, args: ['--set', 'sources.domains=127.0.0.1', '--set', 'sources.allow_local_ip=true'] })
  // As it is built: others may be reading what a build would take away first.
  const output = await finish('npm', ['pack', '--ignore-scripts', '--pack-destination', root, '--json'], { cwd: path('..') })
  tarball = join(root, JSON.parse(output.slice(output.indexOf('[\n')))[0].filename)
})

after(async () => {
  await browser?.close()
  for (const one of [pixgate, origin]) await one?.stop()
  rmSync(root, { recursive: true, force: true })
})

for (const version of [14, 15, 16]) {
  test(`Next.js ${version}`, async (t) => {
    const cwd = join(root, `next-${version}`)
    cpSync(path('app'), cwd, { recursive: true })
    cpSync(path(`next-${version}`), cwd, { recursive: true })
    const env = { ORIGIN_URL: origin.url, NEXT_PUBLIC_PIXGATE_URL: pixgate.url, NEXT_TELEMETRY_DISABLED: '1', CI: undefined }
    await finish('npm', ['ci', '--no-audit', '--no-fund'], { cwd, env })
    await finish('npm', ['install', '--no-save', '--no-package-lock', '--no-audit', '--no-fund', tarball], { cwd, env })
    const installed = JSON.parse(readFileSync(join(cwd, 'node_modules/next/package.json'), 'utf8')).version
    assert.equal(installed.split('.')[0], String(version))
    const next = ['node_modules/next/dist/bin/next']
    const built = await finish(process.execPath, [...next, 'build'], { cwd, env })
    assert.doesNotMatch(built, /warn|invalid|unrecognized|no placeholder/i, built)

    await t.test('the allow-list is that of the build', () => {
      const read = (file) => JSON.parse(readFileSync(join(cwd, file), 'utf8')).images
      const [ours, theirs] = [read('pixgate-manifest.json'), read('.next/images-manifest.json')]
      for (const key of ['deviceSizes', 'imageSizes', 'domains', 'remotePatterns', 'localPatterns', 'qualities', 'formats', 'dangerouslyAllowSVG', 'dangerouslyAllowLocalIP', 'unoptimized']) {
        assert.deepEqual(ours[key], theirs[key], key)
      }
      assert.ok(ours.remotePatterns.length === 3)
    })

    await t.test('what the browser gets of the package is what it uses', () => {
      const scripts = readdirSync(join(cwd, '.next/static'), { recursive: true }).filter((file) => file.endsWith('.js'))
      const text = scripts.map((file) => readFileSync(join(cwd, '.next/static', file), 'utf8')).join('\n')
      assert.ok(text.includes('/image?url='), 'the loader')
      assert.ok(!/\/placeholders|placeholder for|PixgateError|iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ/.test(text), 'nothing of the server side')
      assert.ok(scripts.length > 5)
    })

    const port = await freePort()
    const app = await run(process.execPath, [...next, 'start', '-H', '127.0.0.1', '-p', String(port)], { url: `http://127.0.0.1:${port}`, cwd, env })
    t.after(app.stop)
    // One built ahead and one on demand of each router.
    for (const route of ['', 'ahead', 'pages/ahead', 'pages/demand']) {
      await t.test(`/${route}`, async (t) => {
        const page = await browser.newPage({ viewport: { width: 1000, height: 700 } })
        t.after(() => page.close())
        const [asked, trouble] = [[], []]
        page.on('request', (request) => isPicture(request.url()) && asked.push(request.url()))
        page.on('console', (message) => ['error', 'warning'].includes(message.type()) && trouble.push(message.text()))
        page.on('pageerror', (error) => trouble.push(String(error)))
        await watchShifts(page)
        const release = await holdPictures(page)
        await page.goto(`http://127.0.0.1:${port}/${route}`, { waitUntil: 'domcontentloaded' })
        const early = await page.evaluate(() => [...document.images].map((image) => getComputedStyle(image).backgroundImage))
        assert.ok(early.length >= 2 && early.every((style) => style.includes('data:image/')), JSON.stringify(early))
        release()
        await scrollThrough(page)
        await pictured(page)
        await page.waitForFunction(() => [...document.images].every((image) => getComputedStyle(image).backgroundImage === 'none'), undefined, { timeout: 5000 })
        await page.screenshot({ path: join(ARTEFACTS, `next-${version}-${route.replace('/', '-') || 'home'}.png`) })
        assert.deepEqual([trouble, await page.evaluate(() => window.shifts)], [[], []])
        assert.deepEqual(asked.map(sourceOf).sort(), [...new Set(asked.map(sourceOf))].sort(), 'nothing twice')
        assert.ok(asked.length === early.length && asked.every((url) => url.startsWith(`${pixgate.url}/image?`)), JSON.stringify(asked))
      })
    }
    assert.doesNotMatch(app.output(), /error|warn|no placeholder/i, app.output())
  })
}
