// The README followed to the letter, in Chromium: its files and commands make an app each way, with nothing replaced but
// the names of hosts and their ports, and the version of Next.js. What an address of this machine needs besides is in the
// environment. Beside the README's own page each app has those of kinds/.
import assert from 'node:assert/strict'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before } from 'node:test'
import { fileURLToPath } from 'node:url'

import { startOrigin } from '../../../examples/nextjs/origin.mjs'
import { ARTEFACTS, binary, finish, freePort, holdPictures, isPicture, pictured, run, scrollThrough, sourceOf, startBrowser, watchShifts, withoutSettings } from './harness.mjs'
import { blocks } from './readme.mjs'

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url))
const PACKAGE = path('..')
const NGINX = process.env.NGINX_BIN ?? '/usr/sbin/nginx'

const root = mkdtempSync(join(tmpdir(), 'pixgate-readme-'))
export let browser
export let origin
/** The same for all ways, which are followed one after the other: they share what the beginning has written. */
let ports

/** Packed once more for each version is time for nothing. */
const PACKED = ['npm ci --prefix ../pixgate/clients/nextjs && npm pack ../pixgate/clients/nextjs', `npm pack --ignore-scripts '${PACKAGE}'`]

/** What another version of Next.js needs of the README's text. */
const VERSIONS = {
  14: [
    PACKED,
    ['next@16 react@19 react-dom@19', 'next@14 react@18 react-dom@18'],
    // "Good to know" has it; the test's pictures are not at https.
    ["new URL('https://photos.example.com/**')", "{ protocol: 'http', hostname: 'photos.example.com' }"],
  ],
  15: [PACKED, ['next@16', 'next@15']],
  // Where the pictures are is a public place for a reader, and this machine for the test, from which Next.js 16 takes none.
  16: [['remotePatterns:', 'dangerouslyAllowLocalIP: true, remotePatterns:']],
}
let changes

/** Has the tests of a file follow the README with a version of Next.js. */
export function follow(version) {
  changes = VERSIONS[version]
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
    common.write('kinds')
  })
  after(async () => {
    await browser?.close()
    await origin?.stop()
    rmSync(root, { recursive: true, force: true })
  })
}

/** A directory to follow the README in: one of its own, a copy, or one where it was followed before. */
export async function world(name, from) {
  const cwd = join(root, name)
  if (from) cpSync(join(root, from), cwd, { recursive: true, verbatimSymlinks: true })
  else mkdirSync(cwd, { recursive: true })
  const { pixgate, web, shop, admin } = ports
  const hosts = [
    ...changes,
    ['https://img.example.com', `http://127.0.0.1:${pixgate}`],
    ['https://photos.example.com', origin.url],
    [encodeURIComponent('https://photos.example.com'), encodeURIComponent(origin.url)],
    ['photos.example.com', '127.0.0.1'],
    ['https://other.example.com', origin.url.replace('127.0.0.1', 'localhost')],
    ['shop.example.com', '127.0.0.1'],
    ['listen 80;', `listen 127.0.0.1:${shop};`],
    ['http://localhost:8080', `http://127.0.0.1:${pixgate}`],
    ['pixgate:8080', `127.0.0.1:${pixgate}`],
    ['//web:3000', `//127.0.0.1:${web}`],
    // As the README has it for another port than 3000.
    ['pixgate dev', `pixgate dev --base-url http://localhost:${web}`],
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
  const servers = { 'pixgate ': `http://127.0.0.1:${pixgate}/readyz`, 'npx next start': `http://127.0.0.1:${web}/`, 'npx next dev': `http://127.0.0.1:${web}/kinds` }
  const running = []
  const perform = async (command) => {
    // Development takes pictures of this machine by itself.
    const own = command.startsWith('pixgate dev') ? { ...env, PIXGATE_SOURCES_ALLOW_LOCAL_IP: undefined } : env
    const url = Object.entries(servers).find(([start]) => command.startsWith(start))?.[1]
    if (url) running.push(await run('bash', ['-c', `exec ${here(command)}`], { url, cwd, env: own }))
    else await succeed(here(command), { cwd, env })
  }
  const follow = async (heading, { only = () => true } = {}) => {
    for (const { file, text, commands } of blocks(heading)) {
      if (file) {
        const path = file.startsWith('/') ? join(cwd, 'root', file) : join(cwd, file)
        mkdirSync(dirname(path), { recursive: true })
        writeFileSync(path, here(text))
      }
      for (const command of (commands ?? []).filter(only)) await perform(command)
    }
  }
  /** Puts a file of the test's own into the app; of `kinds`, its pages and their pictures. */
  const write = (file, text) => {
    if (file !== 'kinds') {
      mkdirSync(dirname(join(cwd, file)), { recursive: true })
      return writeFileSync(join(cwd, file), here(text))
    }
    const pictures = { 'public/hero.jpg': 'coffee.jpg', 'public/animated.gif': 'animated.gif', 'public/plain.svg': 'plain.svg', 'public/wide.png': 'panorama.png' }
    for (const [type, name] of Object.entries({ jpg: 'hubble.jpg', gif: 'animated.gif', svg: 'plain.svg', webp: 'cat.webp' })) pictures[`app/kinds/imported.${type}`] = name
    for (const page of ['app/kinds/page.jsx', 'app/other/page.jsx']) {
      mkdirSync(dirname(join(cwd, page)), { recursive: true })
      writeFileSync(join(cwd, page), here(readFileSync(path(`kinds/${page}`), 'utf8')))
    }
    mkdirSync(join(cwd, 'public'))
    for (const [file, name] of Object.entries(pictures)) picture(file, name)
  }
  const picture = (file, name) => cpSync(path(`../../../fixtures/images/${name}`), join(cwd, file))
  const stop = async () => {
    for (const one of running.splice(0).reverse()) await one.stop()
  }
  return { cwd, follow, perform, write, picture, running, stop, pixgate: `http://127.0.0.1:${pixgate}`, web: `http://127.0.0.1:${web}`, dev: `http://localhost:${web}`, port: web, shop: `http://127.0.0.1:${shop}` }
}

async function succeed(command, options) {
  const output = await finish('bash', ['-c', command], options)
  assert.doesNotMatch(output, /\bwarn(?:ing)?\b(?! deprecated)/i, `${command} warns:\n${output}`)
}

/** nginx with the rule of the README and nothing else. */
export async function startNginx({ cwd, shop }) {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${cwd}/root/${name};`).join(' ')
  writeFileSync(join(cwd, 'root/nginx.conf'), `daemon off; pid ${cwd}/root/nginx.pid; error_log stderr; events {}
http { access_log off; ${temporary} include ${cwd}/root/etc/nginx/conf.d/*.conf; }`)
  return run(NGINX, ['-c', join(cwd, 'root/nginx.conf'), '-p', join(cwd, 'root'), '-e', 'stderr'], { url: shop, cwd })
}

/** Opens a page with its pictures held back until `release`, and notes all that it asks for. */
export async function open(t, url) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } })
  t.after(() => context.close())
  const page = await context.newPage()
  const [asked, answers, trouble] = [[], [], []]
  page.on('request', (request) => request.resourceType() === 'image' && !request.url().startsWith('data:') && asked.push(request.url()))
  page.on('response', (response) => isPicture(response.url()) && answers.push(response))
  page.on('response', (response) => response.status() >= 400 && !response.url().endsWith('/favicon.ico') && trouble.push(`${response.status()} ${response.url()}`))
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && !message.location().url.endsWith('/favicon.ico') && trouble.push(message.text()))
  page.on('pageerror', (error) => trouble.push(String(error)))
  await watchShifts(page)
  const release = await holdPictures(page)
  await page.goto(url, { waitUntil: 'domcontentloaded' })
  return { page, asked, answers, trouble, release }
}

export const backgrounds = (page) => page.evaluate(() => [...document.images].map((image) => getComputedStyle(image).backgroundImage))

/** The page of the README: blurred first, then sharp, nothing moved, nothing fetched twice. */
export async function blursIn(t, url, from) {
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

/** The page of every kind of picture: none is broken, nobody complains, and those of the optimizer are Pixgate's. */
export async function showsAll(t, url, { by = 'pixgate;', name = t.name } = {}) {
  const { page, asked, answers, trouble, release } = await open(t, `${url}/kinds`)
  release()
  await scrollThrough(page)
  await pictured(page)
  await page.waitForTimeout(200)
  const shown = await page.evaluate(() => [...document.images].map(({ alt, naturalWidth }) => [alt, naturalWidth]))
  assert.equal(shown.length, 14)
  assert.deepEqual(shown.filter(([, width]) => !(width > 0)), [])
  assert.deepEqual(trouble, [])
  const sources = asked.filter(isPicture).map(sourceOf)
  assert.ok(sources.includes(`${origin.url}/images/dusk.jpg`), `the background: ${sources}`)
  assert.ok(sources.includes('/hero.jpg') && sources.some((src) => src.startsWith('/_next/static/media/imported.')), sources.join())
  assert.ok(answers.length >= 10, `${answers.length}`)
  if (by) assert.deepEqual(answers.filter((answer) => !answer.headers()['cache-status']?.startsWith(by)).map((answer) => answer.url()), [])
  await page.screenshot({ path: join(ARTEFACTS, `readme-${name}-kinds.png`), fullPage: true })
  return page
}

/** The three ways, and what each has to show. */
export async function ingress(t, version) {
  const here = await world('ingress', 'app')
  t.after(here.stop)
  await here.follow('### An ingress rule')
  const nginx = await startNginx(here)
  t.after(nginx.stop)
  await blursIn(t, here.shop, `${here.shop}/_next/image?`)
  await showsAll(t, here.shop, { name: `${version}-${t.name}` })
  return here
}

export async function byPath(t, version) {
  const here = await world('path', 'app')
  t.after(here.stop)
  await here.follow('### `images.path`')
  await blursIn(t, here.web, `${here.pixgate}/_next/image?`)
  await showsAll(t, here.web, { name: `${version}-${t.name}` })
}

export async function byLoader(t, version) {
  const here = await world('loader', 'app')
  t.after(here.stop)
  await here.follow('### The loader, with automatic blur')
  await blursIn(t, here.web, `${here.pixgate}/image?`)
  await showsAll(t, here.web, { name: `${version}-${t.name}` })
  return here
}
