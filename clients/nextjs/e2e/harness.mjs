// What a test of the whole needs: the service, the example's builds, the pictures' origin and a browser, each started for
// the test and stopped with it. PIXGATE_BIN names the service's binary.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { extname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url))

export const EXAMPLE = path('../../../examples/nextjs/')
export const ARTEFACTS = path('../../../artefacts/')
mkdirSync(ARTEFACTS, { recursive: true })

/** Written into the example's builds, so it is fixed: what browsers ask. */
const PUBLIC_URL = process.env.NEXT_PUBLIC_PIXGATE_URL ?? 'http://127.0.0.1:18080'
/** Where the service listens: there too, if nothing is between. */
export const PIXGATE_URL = process.env.PIXGATE_URL ?? PUBLIC_URL

/** What is running, by the group that it and all that it starts are in. */
const groups = new Set()
const signal = (pid, name) => {
  try {
    process.kill(-pid, name)
  } catch {
    // All of them have ended.
  }
}
process.on('exit', () => groups.forEach((pid) => signal(pid, 'SIGKILL')))
for (const name of ['SIGINT', 'SIGTERM']) process.on(name, () => process.exit(1))

export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

/** What begins the command of a server: with SERVER_CPUS, a list for `taskset`, it has those processors. */
const processors = process.env.SERVER_CPUS ? ['taskset', '-c', process.env.SERVER_CPUS] : []

/** Runs a program until it answers at `url`, or says why it does not. */
export async function run(command, args, { url, cwd, env }) {
  const answers = () => fetch(url).then((answer) => answer.status < 500, () => false)
  if (await answers()) throw new Error(`something else answers at ${url}`)
  // A group of its own: `npx`, for one, does not hand signals on to what it runs.
  const [program, ...rest] = [...processors, command, ...args]
  const child = spawn(program, rest, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'], detached: true })
  groups.add(child.pid)
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (output = (output + text).slice(-20_000)))
  // Its streams close when the last of the group has ended.
  const ended = once(child, 'close').then(() => groups.delete(child.pid))
  const stop = async () => {
    signal(child.pid, 'SIGTERM')
    const late = setTimeout(() => signal(child.pid, 'SIGKILL'), 5000)
    await ended
    clearTimeout(late)
  }
  for (const end = performance.now() + 60_000; ; await sleep(50)) {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`${command} ${args.join(' ')} ended:\n${output}`)
    if (performance.now() > end) throw new Error(`${command} ${args.join(' ')} does not answer at ${url}:\n${output}`)
    if (await answers()) return { stop, output: () => output, pid: child.pid }
  }
}

/** Runs a program to its end: what it said, or an error with it. */
export async function finish(command, args, { cwd, env }) {
  const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (output += text))
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} failed:\n${output}`)
  return output
}

export function binary() {
  const bin = process.env.PIXGATE_BIN
  if (!bin || !existsSync(bin)) throw new Error('PIXGATE_BIN must name the pixgate binary, for example target/release/pixgate')
  return bin
}

/** For an environment: takes out every setting of the service, so that nothing of the surroundings reaches it. */
export function withoutSettings() {
  const settings = Object.keys(process.env).filter((name) => /^((NEXT_PUBLIC_)?PIXGATE_|REDIS_URL|DATABASE_URL|CACHE_TTL)/.test(name))
  return Object.fromEntries(settings.map((name) => [name, undefined]))
}

/** Serves pages of HTML: `text(path)` has each. */
export async function servePage(text) {
  const server = createHttpServer((request, response) => {
    const path = new URL(request.url, 'http://n').pathname
    if (path === '/favicon.ico') return void response.writeHead(204).end()
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(`<!doctype html><html lang="en"><title>Page</title>${text(path)}`)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const stop = () => (server.closeAllConnections(), new Promise((done) => server.close(done)))
  return { url: `http://127.0.0.1:${server.address().port}`, stop }
}

/** Serves the files of a folder as hosts of static sites do: `/page` is page.html. */
export async function serveFiles(root, port) {
  const types = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.jpg': 'image/jpeg', '.png': 'image/png', '.gif': 'image/gif', '.webp': 'image/webp', '.svg': 'image/svg+xml' }
  const server = createHttpServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url, 'http://n').pathname).replace(/\/$/, '/index')
    const file = [path, `${path}.html`].map((name) => join(root, name)).find((name) => existsSync(name) && statSync(name).isFile())
    if (!file) return void response.writeHead(404).end()
    response.writeHead(200, { 'content-type': types[extname(file)] ?? 'application/octet-stream' }).end(readFileSync(file))
  }).listen(port, '127.0.0.1')
  await once(server, 'listening')
  const stop = () => (server.closeAllConnections(), new Promise((done) => server.close(done)))
  return { url: `http://127.0.0.1:${port}`, stop }
}

/** Starts the service, with nothing remembered, for what the manifest allows. */
export async function startPixgate({ url = PIXGATE_URL, manifest = join(EXAMPLE, 'pixgate-manifest-loader.json'), args = [] } = {}) {
  const cwd = mkdtempSync(join(tmpdir(), 'pixgate-e2e-'))
  const admin = `127.0.0.1:${await freePort()}`
  const listen = new URL(url).host
  const own = ['serve', '--listen', listen, '--admin-listen', admin, '--set', 'metadata.url=']
  if (manifest) own.push('--next-manifest', manifest)
  const { stop, output } = await run(binary(), [...own, ...args], { url: `${url}/readyz`, cwd, env: withoutSettings() })
  return { url, admin: `http://${admin}`, output, stop: () => stop().then(() => rmSync(cwd, { recursive: true })) }
}

/** Starts one of the example's builds; `clean` forgets what Next.js's own optimizer has made. */
export async function startExample(mode, origin, { clean = true, env = {} } = {}) {
  const build = join(EXAMPLE, `.next-${mode}`)
  if (!existsSync(join(build, 'BUILD_ID'))) throw new Error(`the example is not built: NEXT_PUBLIC_PIXGATE_URL=${PIXGATE_URL} node ${EXAMPLE}build.mjs ${mode}`)
  if (clean) rmSync(join(build, 'cache/images'), { recursive: true, force: true })
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const own = { EXAMPLE_MODE: mode, ORIGIN_URL: origin, NEXT_PUBLIC_PIXGATE_URL: PUBLIC_URL, NEXT_TELEMETRY_DISABLED: '1', ...(mode === 'own' && { PIXGATE_URL }), ...env }
  const running = await run(process.execPath, ['node_modules/next/dist/bin/next', 'start', '-H', '127.0.0.1', '-p', String(port)], { url, cwd: EXAMPLE, env: own })
  return { address: url, url: url + base(mode), ...running }
}

/** The route that a build of the example is on. */
const base = (mode) => (mode === 'next' ? '' : `/${mode}`)

/** Chromium: CHROMIUM_BIN, or where Debian puts it. */
export async function startBrowser(more = []) {
  const { chromium } = await import('playwright-core')
  const executablePath = process.env.CHROMIUM_BIN ?? '/usr/bin/chromium'
  if (!existsSync(executablePath)) throw new Error(`there is no Chromium at ${executablePath}: install it (Debian: chromium) or set CHROMIUM_BIN`)
  // Nothing of its own on the network, and a profile of its own, which playwright makes and removes.
  const quiet = ['--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-quic', '--no-first-run']
  return chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu', ...quiet, ...more] })
}

/** Whether a URL is that of a picture that an optimizer makes. */
export const isPicture = (url) => /^(?:\/\w+)?(?:\/_next)?\/image$/.test(new URL(url).pathname)

/** The picture that a URL asks for. */
export const sourceOf = (url) => new URL(url).searchParams.get('url')

export const median = (numbers) => {
  const sorted = [...numbers].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** Scrolls to the end as a reader would, so that everything lazy is asked for. */
export async function scrollThrough(page) {
  for (;;) {
    const done = await page.evaluate(() => {
      window.scrollBy(0, innerHeight / 2)
      return scrollY + innerHeight >= document.documentElement.scrollHeight - 2
    })
    await page.waitForTimeout(80)
    if (done) break
  }
}

/** Waits until every picture of the page is there and shown. */
export async function pictured(page) {
  await page.waitForFunction(() => [...document.images].every((image) => image.currentSrc && image.complete && image.naturalWidth > 0), undefined, { timeout: 30_000 })
}

/** Notes every layout shift of the page in `window.shifts`; before its first navigation. */
export const watchShifts = (page) =>
  page.addInitScript(() => {
    window.shifts = []
    new PerformanceObserver((list) => window.shifts.push(...list.getEntries().map(({ value }) => value))).observe({ type: 'layout-shift', buffered: true })
  })

/** Holds the page's pictures back until the function that it gives is called. */
export async function holdPictures(page) {
  let release
  const held = new Promise((go) => (release = go))
  await page.route((url) => isPicture(url), async (route) => {
    await held
    await route.continue()
  })
  return release
}
