// Ten pictures of the example on Next.js's own optimizer and on Pixgate, side by side in Chromium: HTTP/2 over TLS by nginx,
// on a line as narrow and long as a mobile one. Largest Contentful Paint, when the last picture is there, and bytes; cold
// (nothing was ever asked for) and warm. Then the bytes at equal SSIMULACRA2. Prints Markdown. PIXGATE_BIN names the
// service's binary, SCORE_BIN that of examples/score.rs and LINE_BIN that of examples/line.rs; PIXGATE_URL is where the service shall listen, and the example is
// built for NEXT_PUBLIC_PIXGATE_URL=https://images.shop.test.
//
//   node scripts/bench-next/bench.mjs [ROUNDS [NETWORK [WAY]]]
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

import { ARTEFACTS, freePort, isPicture, median, PIXGATE_URL, sourceOf, startBrowser, startExample, startPixgate } from '../../clients/nextjs/e2e/harness.mjs'
import { startOrigin } from '../../examples/nextjs/origin.mjs'
import { makeCertificates, startIngress } from './ingress.mjs'
import { startLine } from './line.mjs'

const rounds = Number(process.argv[2] ?? 2)
/** As developer tools name them: round trip in ms, and Mbit/s. */
const ALL_NETWORKS = { 'slow 4G': [150, 1.6], 'fast 4G': [60, 9] }
const NETWORKS = Object.fromEntries(Object.entries(ALL_NETWORKS).filter(([name]) => !process.argv[3] || name === process.argv[3]))
/**
 * By name: the example's build, and what its placeholders are. Next.js's blur is of pictures that are in the page's data.
 * The host of the pictures shares a certificate, and with it the connection, with that of the app, or it does not.
 */
const ALL_WAYS = {
  'Next.js': ['next'],
  'Next.js, blur': ['next', 'blur'],
  'Pixgate, ingress rule': ['ingress'],
  'Pixgate, `images.path`': ['path'],
  'Pixgate, `images.path`, a certificate of its own': ['path', '', 'apart'],
  'Pixgate, loader, ThumbHash': ['loader', 'thumbhash'],
  'Pixgate, loader, blur': ['loader', 'blur'],
  'Pixgate, loader on the app’s host, blur': ['own', 'blur'],
}
const WAYS = Object.fromEntries(Object.entries(ALL_WAYS).filter(([name]) => !process.argv[4] || process.argv[4].split(';').includes(name)))
const OWN = 'Next.js'
const ANY = 'Pixgate, ingress rule'
/** Of Next.js's ladder: up to the most that it takes. */
const qualities = [50, 75, 90, 95, 100]
/** Warm visits a round: they differ more by the browser's work than by what is measured. */
const WARM = 7
/** What the page may take at most, also cold and slow. */
const LATE = 60_000

const fixtures = fileURLToPath(new URL('../../fixtures/images/', import.meta.url))
const certificates = await makeCertificates()
const port = await freePort()
const line = await startLine(port)
// Of the certificates nothing is excused but that nobody vouches for them.
const browser = await startBrowser([`--host-resolver-rules=MAP *.test 127.0.0.1:${line.port}`, `--ignore-certificate-errors-spki-list=${certificates.pins}`])
const origin = await startOrigin()
const blurs = await blurDataURLs()
/** Results by network, way and state. */
const seen = new Map()
/** Bodies by way, source and state, of the last round on the last network. */
const bodies = new Map()
/** Next.js's bytes by source and quality, of the pictures that the page asks for. */
const ladder = new Map()

for (let round = 0; round < rounds; round += 1) {
  for (const network of Object.keys(NETWORKS)) {
    for (const way of Object.keys(WAYS)) await measure(way, network, round === rounds - 1)
  }
}
await climb()
await browser.close()
await line.stop()
await origin.stop()
certificates.stop()

const text = `${times()}\n${sizes()}`
writeFileSync(join(ARTEFACTS, 'bench-next.md'), text)
console.log(text)

/** One visit with nothing known, then some when all is known and nothing is left to do. */
async function measure(way, network, keep) {
  const [mode, placeholder = '', apart] = WAYS[way]
  const pixgate = mode === 'next' ? undefined : await startPixgate()
  const env = { EXAMPLE_PLACEHOLDER: placeholder, EXAMPLE_BLURS: mode === 'next' && placeholder ? blurs : '' }
  const app = await startExample(mode, origin.url, { env })
  // Behind an ingress both are: the rule is what differs.
  const ingress = await startIngress({ port, app: app.address, pixgate: pixgate && PIXGATE_URL, certificates, shared: !apart })
  const url = mode === 'next' ? 'https://www.shop.test' : `https://www.shop.test/${mode}`
  // The app itself is warm in both: this is about pictures. The home page has none of them.
  for (let n = 0; n < 3; n += 1) await (await fetch(app.url)).text()
  note(way, network, 'cold', await visit(`${url}/ten`, network), keep)
  // Twice more without a throttle, so that what is made better behind is asked for again; then until nothing changes.
  for (let bytes = -1, same = 0, n = 0; n < 30 && same < (pixgate ? 3 : 1); n += 1) {
    const now = (await visit(`${url}/ten`)).bytes
    same = now === bytes ? same + 1 : 0
    bytes = now
    await sleep(pixgate ? 2500 : 500)
  }
  for (let n = 0; n < WARM; n += 1) note(way, network, 'warm', await visit(`${url}/ten`, network), keep)
  for (const running of [ingress, app, pixgate]) await running?.stop()
}

/** A `blurDataURL` for each picture of the page, which an app without Pixgate gets by a tool when it gets the picture. */
async function blurDataURLs() {
  const pixgate = await startPixgate()
  const app = await startExample('next', origin.url)
  const page = await (await fetch(`${app.url}/ten`)).text()
  const urls = [...new Set([...page.matchAll(/\/_next\/image\?url=([^&"]+)/g)].map(([, url]) => decodeURIComponent(url)))]
  const headers = { 'content-type': 'application/json' }
  const answer = await fetch(`${PIXGATE_URL}/placeholders`, { method: 'POST', headers, body: JSON.stringify({ urls }) })
  const found = await answer.json()
  if (urls.length !== 10 || !found.every(({ blurDataURL }) => blurDataURL)) throw new Error(`no placeholders: ${JSON.stringify(found)}`)
  for (const running of [app, pixgate]) await running.stop()
  return JSON.stringify(Object.fromEntries(found.map(({ blurDataURL }, n) => [urls[n], blurDataURL])))
}

function note(way, network, state, result, keep) {
  const key = [network, way, state].join()
  seen.set(key, [...(seen.get(key) ?? []), result])
  console.error(`${network}, ${way}, ${state}: LCP ${Math.round(result.lcp)} ms, of which the picture took ${Math.round(result.largest)}, last ${Math.round(result.last)} ms, ${result.bytes} bytes, ${result.connections} connections`)
  if (keep) bodies.set([way, state].join(), result.bodies)
}

/** Opens the page with an empty cache and waits for its ten pictures. */
async function visit(url, network) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } })
  const page = await context.newPage()
  const responses = []
  page.on('response', (response) => isPicture(response.url()) && responses.push(response))
  await page.addInitScript(() => {
    window.paints = []
    new PerformanceObserver((list) => window.paints.push(...list.getEntries().map(({ startTime, url, size }) => ({ startTime, url, size })))).observe({ type: 'largest-contentful-paint', buffered: true })
  })
  await line.shape(network && { roundTrip: NETWORKS[network][0], megabits: NETWORKS[network][1] })
  await page.goto(url, { waitUntil: 'load', timeout: LATE })
  await page.waitForFunction(() => document.images.length === 10 && [...document.images].every((image) => image.complete && image.naturalWidth > 0), undefined, { timeout: LATE })
  // What has come still has to be painted, and the last candidate is the largest.
  await page.waitForFunction(() => window.paints.some(({ url }) => url.includes('lake.jpg')), undefined, { timeout: LATE })
  await page.waitForTimeout(500)
  const { paint, largest, last } = await page.evaluate(() => {
    const paint = window.paints.at(-1)
    const pictures = performance.getEntriesByType('resource').filter(({ initiatorType }) => initiatorType === 'img' || initiatorType === 'link').filter(({ name }) => /[?&]url=/.test(name))
    const largest = pictures.find(({ name }) => name.includes('lake.jpg'))
    return { paint, largest: largest.responseEnd, last: Math.max(...pictures.map(({ responseEnd }) => responseEnd)) }
  })
  if (!paint.url.includes('lake.jpg')) throw new Error(`${url}: the largest paint is not the picture but ${JSON.stringify(paint)}`)
  const bodies = new Map()
  for (const response of responses) bodies.set(sourceOf(response.url()), { url: response.url(), body: await response.body(), type: response.headers()['content-type'] })
  if (bodies.size !== 10 || responses.length !== 10) throw new Error(`${url}: ${responses.length} answers for ${bodies.size} pictures`)
  await context.close()
  return { lcp: paint.startTime, largest, last, connections: await line.shape(), bytes: [...bodies.values()].reduce((sum, { body }) => sum + body.length, 0), bodies }
}

/** What Next.js makes of the same pictures at each of its qualities, for the same browser. */
async function climb() {
  const app = await startExample('next', origin.url, { env: { EXAMPLE_QUALITIES: qualities.join() } })
  for (const [source, { url }] of bodies.get([OWN, 'warm'].join())) {
    for (const q of qualities) {
      const address = new URL(url)
      address.searchParams.set('q', String(q))
      const answer = await fetch(`${app.url}${address.pathname}${address.search}`, { headers: { accept: 'image/avif,image/webp,*/*' } })
      if (!answer.ok) throw new Error(`Next.js answers ${answer.status} at quality ${q}: ${await answer.text()}`)
      ladder.set([source, q].join(), Buffer.from(await answer.arrayBuffer()))
    }
  }
  await app.stop()
}

/** SSIMULACRA2 of each output against its source. */
function scores(pairs) {
  const directory = mkdtempSync(join(tmpdir(), 'pixgate-score-'))
  const lines = pairs.map(([source, body], n) => {
    const file = join(directory, String(n))
    writeFileSync(file, body)
    return `${fixtures}${new URL(source).pathname.split('/').at(-1)}\t${file}\n`
  })
  const { stdout, stderr, status } = spawnSync(process.env.SCORE_BIN ?? 'target/release/examples/score', { input: lines.join(''), encoding: 'utf8', maxBuffer: 1 << 24 })
  rmSync(directory, { recursive: true })
  if (status !== 0) throw new Error(`SCORE_BIN failed: ${stderr}`)
  return stdout.trim().split('\n').map(Number)
}

/**
 * The bytes at a score, by the logarithm between the steps of a ladder. A score that the ladder does not reach counts as its
 * last step, which is to the ladder's favour.
 */
function bytesAt(curve, score) {
  const steps = [...curve].sort((a, b) => a[0] - b[0])
  const at = steps.findIndex(([reached]) => reached >= score)
  if (at <= 0) return steps.at(at)[1]
  const [[s0, b0], [s1, b1]] = [steps[at - 1], steps[at]]
  return Math.exp(Math.log(b0) + ((Math.log(b1) - Math.log(b0)) * (score - s0)) / (s1 - s0))
}

function times() {
  const lines = [`Medians of ${rounds} rounds, ${WARM} warm visits in each; ten pictures, 1280 x 800, Chromium, quality 75.`, '', '| network | state | way | LCP, ms | last picture, ms | image bytes |', '|---|---|---|---|---|---|']
  for (const network of Object.keys(NETWORKS)) {
    for (const state of ['cold', 'warm']) {
      for (const way of Object.keys(WAYS)) {
        const results = seen.get([network, way, state].join())
        const of = (field) => Math.round(median(results.map((result) => result[field]))).toLocaleString('en')
        lines.push(`| ${network} (${NETWORKS[network][1]} Mbit/s, ${NETWORKS[network][0]} ms) | ${state} | ${way} | ${of('lcp')} | ${of('last')} | ${of('bytes')} |`)
      }
    }
  }
  return `${lines.join('\n')}\n`
}

function sizes() {
  const sources = [...bodies.get([OWN, 'warm'].join()).keys()]
  const steps = sources.flatMap((source) => qualities.map((q) => [source, ladder.get([source, q].join())]))
  const stepScores = scores(steps)
  const curves = new Map(sources.map((source, n) => [source, qualities.map((_, k) => [stepScores[n * qualities.length + k], steps[n * qualities.length + k][1].length])]))
  const lines = ['| answers | mean score | image bytes | Next.js’s bytes at the same scores | ratio | not reached by Next.js |', '|---|---|---|---|---|---|']
  for (const [way, state, name] of [[OWN, 'warm', OWN], [ANY, 'cold', 'Pixgate, cold'], [ANY, 'warm', 'Pixgate, warm']]) {
    const given = bodies.get([way, state].join())
    if (!given) continue
    const reached = scores(sources.map((source) => [source, given.get(source).body]))
    const bytes = sources.reduce((sum, source) => sum + given.get(source).body.length, 0)
    const equal = sources.reduce((sum, source, n) => sum + bytesAt(curves.get(source), reached[n]), 0)
    lines.push(`| ${name} | ${(reached.reduce((a, b) => a + b) / reached.length).toFixed(1)} | ${bytes.toLocaleString('en')} | ${Math.round(equal).toLocaleString('en')} | ${(bytes / equal).toFixed(2)} | ${sources.filter((source, n) => Math.max(...curves.get(source).map(([score]) => score)) < reached[n]).length} |`)
    if (process.env.DETAILS) {
      for (const [n, source] of sources.entries()) {
        const { body, type } = given.get(source)
        lines.push(`<!-- ${way} ${state} ${source} ${type} ${body.length} B score ${reached[n]}; Next.js ${JSON.stringify(curves.get(source))} at that score ${Math.round(bytesAt(curves.get(source), reached[n]))} -->`)
      }
    }
  }
  return `${lines.join('\n')}\n`
}
