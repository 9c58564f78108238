// The README followed to the letter, in Chromium: its files and commands make an app each way, with nothing replaced but
// the names of hosts and their ports. What an address of this machine needs besides is in the environment.
import assert from 'node:assert/strict'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'

import { startOrigin } from '../../../examples/nextjs/origin.mjs'
import { ARTEFACTS, binary, finish, freePort, isPicture, pictured, run, scrollThrough, servePage, sourceOf, startBrowser, withoutSettings } from './harness.mjs'
import { blocks } from './readme.mjs'

const PACKAGE = fileURLToPath(new URL('..', import.meta.url))
const NGINX = process.env.NGINX_BIN ?? '/usr/sbin/nginx'

const root = mkdtempSync(join(tmpdir(), 'pixgate-readme-'))
let browser
let origin
/** The same for all ways, which are followed one after the other: they share what the beginning has written. */
let ports

before(async () => {
  if (!existsSync(NGINX)) throw new Error(`there is no nginx at ${NGINX}: install it (Debian: nginx) or set NGINX_BIN`)
  browser = await startBrowser()
  origin = await startOrigin()
  ports = { pixgate: await freePort(), web: await freePort(), shop: await freePort(), admin: await freePort() }
  // The repository beside the app, as it is after a checkout, and the binary on PATH.
  const checkout = join(root, 'pixgate/clients/nextjs')
  mkdirSync(join(root, 'bin'))
  symlinkSync(binary(), join(root, 'bin/pixgate'))
  cpSync(PACKAGE, checkout, { recursive: true, filter: (file) => !/\/(?:node_modules|dist|e2e)$/.test(file.replace(/\/$/, '')) })
  const common = await world('app')
  await common.follow('## Next.js')
})

after(async () => {
  await browser?.close()
  await origin?.stop()
  rmSync(root, { recursive: true, force: true })
})

/** A directory to follow the README in. */
async function world(name, from) {
  const cwd = join(root, name)
  if (from) cpSync(join(root, from), cwd, { recursive: true, verbatimSymlinks: true })
  else mkdirSync(cwd)
  const { pixgate, web, shop, admin } = ports
  const hosts = [
    ['https://img.example.com', `http://127.0.0.1:${pixgate}`],
    ['https://photos.example.com', origin.url],
    [encodeURIComponent('https://photos.example.com'), encodeURIComponent(origin.url)],
    ['photos.example.com', '127.0.0.1'],
    ['shop.example.com', '127.0.0.1'],
    ['listen 80;', `listen 127.0.0.1:${shop};`],
    ['//pixgate:8080', `//127.0.0.1:${pixgate}`],
    ['//web:3000', `//127.0.0.1:${web}`],
  ]
  const here = (text) => hosts.reduce((text, [theirs, ours]) => text.replaceAll(theirs, ours), text)
  const env = {
    ...withoutSettings(),
    PATH: `${join(root, 'bin')}:${dirname(process.execPath)}:${process.env.PATH}`,
    PORT: String(web),
    PIXGATE_SERVER_LISTEN: `127.0.0.1:${pixgate}`,
    PIXGATE_SERVER_ADMIN_LISTEN: `127.0.0.1:${admin}`,
    // Where the pictures are is a public place for a reader, and this machine for the test.
    PIXGATE_SOURCES_ALLOW_LOCAL_IP: 'true',
    NEXT_TELEMETRY_DISABLED: '1',
    // Next.js says of every build in CI that it has no cache.
    CI: undefined,
  }
  /** What a command starts and leaves running, by how it begins, and where it then answers. */
  const servers = { 'pixgate serve': `http://127.0.0.1:${pixgate}/readyz`, 'npx next start': `http://127.0.0.1:${web}/` }
  const running = []
  const follow = async (heading) => {
    for (const { file, text, commands } of blocks(heading)) {
      if (file) {
        const path = file.startsWith('/') ? join(cwd, 'root', file) : join(cwd, file)
        mkdirSync(dirname(path), { recursive: true })
        writeFileSync(path, here(text))
      }
      for (const command of commands ?? []) {
        const url = Object.entries(servers).find(([start]) => command.startsWith(start))?.[1]
        if (url) running.push(await run('bash', ['-c', `exec ${command}`], { url, cwd, env }))
        else await succeed(command, { cwd, env })
      }
    }
  }
  const stop = async () => {
    for (const one of running.splice(0).reverse()) await one.stop()
  }
  return { cwd, follow, running, stop, pixgate: `http://127.0.0.1:${pixgate}`, web: `http://127.0.0.1:${web}`, shop: `http://127.0.0.1:${shop}` }
}

async function succeed(command, options) {
  const output = await finish('bash', ['-c', command], options)
  assert.doesNotMatch(output, /\bwarn(?:ing)?\b(?! deprecated)/i, `${command} warns:\n${output}`)
}

/** nginx with the rule of the README and nothing else. */
async function startNginx({ cwd, shop }) {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${cwd}/root/${name};`).join(' ')
  writeFileSync(join(cwd, 'root/nginx.conf'), `daemon off; pid ${cwd}/root/nginx.pid; error_log stderr; events {}
http { access_log off; ${temporary} include ${cwd}/root/etc/nginx/conf.d/*.conf; }`)
  return run(NGINX, ['-c', join(cwd, 'root/nginx.conf'), '-p', join(cwd, 'root'), '-e', 'stderr'], { url: shop, cwd })
}

/** Opens a page with its pictures held back until `release`, and notes all that it asks for. */
async function open(t, url) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } })
  t.after(() => context.close())
  const page = await context.newPage()
  const [asked, answers, trouble] = [[], [], []]
  page.on('request', (request) => request.resourceType() === 'image' && !request.url().startsWith('data:') && asked.push(request.url()))
  page.on('response', (response) => isPicture(response.url()) && answers.push(response))
  page.on('response', (response) => response.status() >= 400 && !response.url().endsWith('/favicon.ico') && trouble.push(`${response.status()} ${response.url()}`))
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && !message.location().url.endsWith('/favicon.ico') && trouble.push(message.text()))
  page.on('pageerror', (error) => trouble.push(String(error)))
  await page.addInitScript(() => {
    window.shifts = []
    new PerformanceObserver((list) => window.shifts.push(...list.getEntries().map(({ value }) => value))).observe({ type: 'layout-shift', buffered: true })
  })
  let release
  const held = new Promise((go) => (release = go))
  await page.route(isPictureUrl, async (route) => {
    await held
    await route.continue()
  })
  await page.goto(url, { waitUntil: 'domcontentloaded' })
  return { page, asked, answers, trouble, release }
}

const isPictureUrl = (url) => isPicture(url)
const backgrounds = (page) => page.evaluate(() => [...document.images].map((image) => getComputedStyle(image).backgroundImage))

/** The page of the README: blurred first, then sharp, nothing moved, nothing fetched twice. */
async function blursIn(t, url, from) {
  const { page, asked, answers, trouble, release } = await open(t, url)
  const early = await backgrounds(page)
  assert.equal(early.length, 2)
  assert.ok(early.every((style) => style.includes('data:image/png;base64,') || style.includes('data:image/svg+xml')), JSON.stringify(early))
  assert.equal(new Set(early).size, 2, 'each its own')
  assert.ok(await page.evaluate(() => [...document.images].every((image) => image.naturalWidth === 0)), 'no picture is there yet')
  await page.screenshot({ path: join(ARTEFACTS, `readme-${t.name}-early.png`) })
  release()
  await scrollThrough(page)
  await pictured(page)
  await page.waitForFunction(() => [...document.images].every((image) => getComputedStyle(image).backgroundImage === 'none'), undefined, { timeout: 5000 })
  await page.waitForTimeout(200)
  await page.screenshot({ path: join(ARTEFACTS, `readme-${t.name}.png`) })
  assert.deepEqual(trouble, [])
  assert.deepEqual(await page.evaluate(() => window.shifts), [])
  const pictures = asked.filter(isPicture)
  assert.deepEqual(pictures.map(sourceOf).sort(), ['coffee.jpg', 'lake.jpg'].map((name) => `${origin.url}/images/${name}`), 'each picture once, at one size')
  assert.ok(answers.length === 2 && answers.every((answer) => answer.headers()['cache-status']?.startsWith('pixgate;')), 'from Pixgate')
  assert.ok(pictures.every((url) => url.startsWith(from)), JSON.stringify(pictures))
}

describe('the README', () => {
  test('ingress', async (t) => {
    const here = await world('ingress', 'app')
    t.after(here.stop)
    await here.follow('### An ingress rule')
    const nginx = await startNginx(here)
    t.after(nginx.stop)
    await blursIn(t, here.shop, `${here.shop}/_next/image?`)
  })

  test('path', async (t) => {
    const here = await world('path', 'app')
    t.after(here.stop)
    await here.follow('### `images.path`')
    await blursIn(t, here.web, `${here.pixgate}/_next/image?`)
  })

  test('loader', async (t) => {
    const here = await world('loader', 'app')
    t.after(here.stop)
    await here.follow('### The loader, with automatic blur')
    await blursIn(t, here.web, `${here.pixgate}/image?`)
  })

  test('own', async (t) => {
    const here = await world('own', 'app')
    t.after(here.stop)
    await here.follow('### The loader, with automatic blur')
    await here.stop()
    await here.follow("### The loader on the app's own host")
    const nginx = await startNginx(here)
    t.after(nginx.stop)
    await blursIn(t, here.shop, `${here.shop}/image?`)
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
