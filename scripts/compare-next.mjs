// Asks Next.js's own /_next/image (the example's production build) and Pixgate's the same questions about the same
// sources and prints what differs. Each difference is one that compare-next.improvements.json has a reason for, or it is
// unexplained, and the exit code 1. PIXGATE_BIN names the service's binary.
import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createServer, request as send } from 'node:http'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'

import { ARTEFACTS, EXAMPLE, freePort, startExample, startPixgate } from '../clients/nextjs/e2e/harness.mjs'
import { cases } from './compare-next.cases.mjs'

const fixture = (path) => readFileSync(fileURLToPath(new URL(`../fixtures/${path}`, import.meta.url)))
// The decoder that judges both answers is the one that Next.js came with.
const sharp = createRequire(join(EXAMPLE, 'package.json'))('sharp')

const improvements = JSON.parse(readFileSync(new URL('compare-next.improvements.json', import.meta.url), 'utf8'))
const only = process.argv[2]

const origin = await startCaseOrigin()
const next = await startExample('next', origin.url)
const manifest = join(EXAMPLE, '.next-next/images-manifest.json')
const settings = ['--set', `sources.base_url=${next.url}`]
const pixgate = await startPixgate({ url: `http://127.0.0.1:${await freePort()}`, manifest, args: settings })
// How long a picture may be kept is seen where the first answer is the last.
const settled = await startPixgate({ url: `http://127.0.0.1:${await freePort()}`, manifest, args: [...settings, '--set', 'avif.progressive=false'] })
const closed = `http://127.0.0.1:${await freePort()}`

const asked = cases({ origin: origin.url, other: origin.url.replace('127.0.0.1', 'localhost'), closed }).filter(({ name }) => !only || name.startsWith(only))
const used = new Map(improvements.map((improvement) => [improvement, 0]))
const unexplained = []
const rows = []

const queue = [...asked]
await Promise.all(Array.from({ length: 3 }, async () => {
  for (let one = queue.shift(); one; one = queue.shift()) {
    const [theirs, ours] = [await look(next.url, one), await look(one.name.startsWith('lifetime/') ? settled.url : pixgate.url, one)]
    // What kind of answer it is decides all the rest.
    const fields = theirs.answer === ours.answer ? new Set([...Object.keys(theirs), ...Object.keys(ours)]) : ['answer']
    for (const field of fields) {
      if (theirs[field] === ours[field]) continue
      const difference = { case: one.name, field, next: String(theirs[field] ?? 'none'), pixgate: String(ours[field] ?? 'none') }
      const improvement = improvements.find((improvement) => explains(improvement, difference))
      if (improvement) used.set(improvement, used.get(improvement) + 1)
      else unexplained.push({ ...difference, request: `${one.method} ${one.path}`, headers: one.headers })
      rows.push({ ...difference, because: improvement?.id ?? null })
    }
  }
}))
await Promise.all([next.stop(), pixgate.stop(), settled.stop(), origin.stop()])

writeFileSync(join(ARTEFACTS, 'compare-next.json'), `${JSON.stringify({ cases: asked.length, differences: rows, unexplained }, null, 1)}\n`)
for (const [{ id, reason }, count] of used) if (count > 0) console.log(`${String(count).padStart(5)}  ${id}: ${reason}`)
// A reason for nothing would one day excuse something else.
const idle = only ? [] : [...used].filter(([, count]) => count === 0).map(([{ id }]) => id)
for (const id of idle) console.log(`    0  ${id}: explains nothing; take it out`)
for (const { case: name, field, next, pixgate, request, headers } of unexplained) {
  console.log(`UNEXPLAINED ${name}: ${field}\n    Next.js: ${next}\n    Pixgate: ${pixgate}\n    ${request} ${JSON.stringify(headers)}`)
}
console.log(`${asked.length} requests, ${rows.length} differences, ${unexplained.length} unexplained`)
process.exit(unexplained.length + idle.length > 0 ? 1 : 0)

/** Whether an improvement is about this difference: all that it names has to match, whole. */
function explains({ cases, fields, next, pixgate }, difference) {
  const matches = (pattern, text) => pattern === undefined || new RegExp(`^(?:${pattern})$`, 's').test(text)
  return fields.includes(difference.field) && cases.some((pattern) => matches(pattern, difference.case)) && matches(next, difference.next) && matches(pixgate, difference.pixgate)
}

/** What a client sees: everything that the contract is about, in a form that two servers can agree in. */
async function look(base, { name, method, path, headers, first, after }) {
  const before = first ? await ask(base, { method: 'GET', headers: {}, ...first }) : undefined
  const answer = await ask(base, { method, path, headers: { ...headers, ...(after && before ? after(before) : {}) } })
  if (answer.failed) return { answer: answer.failed }
  const { status, body } = answer
  const got = (field) => answer.headers[field]
  const type = got('content-type')
  const text = status === 200 ? type : body.length > 300 ? `${body.length} bytes` : body.toString()
  const seen = { answer: `${status} ${text ?? ''}`.trim() }
  if (status !== 200) seen['content-type'] = type
  for (const field of ['cache-control', 'vary', 'content-security-policy']) seen[field] = got(field)
  seen.location = got('location')?.replace(base, '')
  // The extension is that of the type, which is compared by itself.
  const extension = type?.replace('image/', '').replace('svg+xml', 'svg').replace('x-icon', 'ico').replace('x-icns', 'icns')
  seen['content-disposition'] = got('content-disposition')?.replaceAll(`.${extension}`, '.*')
  // Elsewhere it depends on which of the cases that share a variant came first.
  if (/^(?:headers|conditional|lifetime|key|widths|qualities)\//.test(name)) seen['x-nextjs-cache'] = got('x-nextjs-cache')
  const tag = got('etag')
  seen.etag = tag === undefined ? 'none' : /^(?:W\/)?"[^"]+"$/.test(tag) ? 'quoted' : 'bare'
  // An error's length may be told or not; a picture's has to be, and has to be right.
  if (status === 200) seen['content-length'] = got('content-length') === undefined ? 'none' : method === 'HEAD' ? 'some' : Number(got('content-length')) === body.length ? 'right' : 'wrong'
  const compared = ['content-type', 'cache-control', 'vary', 'content-disposition', 'content-security-policy', 'x-nextjs-cache', 'location', 'etag', 'content-length']
  const ofConnection = ['date', 'connection', 'keep-alive', 'transfer-encoding']
  seen['further headers'] = Object.keys(answer.headers).filter((field) => ![...compared, ...ofConnection].includes(field)).sort().join(', ')
  if (status === 200 && method !== 'HEAD') {
    const picture = await sharp(body, { pages: -1, limitInputPixels: false }).metadata().catch((error) => ({ format: `undecodable: ${error.message.split('\n')[0]}` }))
    const { format, width, pages = 1, height, pageHeight = height, hasAlpha } = picture
    Object.assign(seen, { format, size: `${width} x ${pageHeight}`, frames: pages, alpha: hasAlpha })
  }
  return seen
}

function ask(base, { method, path, headers }) {
  return new Promise((resolve) => {
    const { hostname, port } = new URL(base)
    // As it stands: a client that tidies the path up would hide what the servers make of it.
    const request = send({ hostname, port, method, path, headers, agent: false }, (response) => {
      const chunks = []
      response.on('data', (chunk) => chunks.push(chunk))
      response.on('end', () => (clearTimeout(late), resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks) })))
      response.on('error', (error) => (clearTimeout(late), resolve({ failed: `broke off: ${error.code}` })))
    })
    const late = setTimeout(() => (request.destroy(), resolve({ failed: 'no answer within 40 s' })), 40_000)
    request.on('error', (error) => (clearTimeout(late), resolve({ failed: `no answer: ${error.code}` })))
    request.end()
  })
}

/** The origin of the cases: pictures, and all that may go wrong with one. */
async function startCaseOrigin() {
  const types = { jpg: 'image/jpeg', png: 'image/png', webp: 'image/webp', avif: 'image/avif', gif: 'image/gif', svg: 'image/svg+xml', bmp: 'image/bmp', tiff: 'image/tiff', ico: 'image/x-icon', jxl: 'image/jxl', heic: 'image/heic', icns: 'image/x-icns' }
  const bytes = {
    pdf: '%PDF-1.7\n1 0 obj', text: 'just a text that is long enough to be looked at', html: '<!doctype html><html><body><img src=x></body></html>', psd: '8BPS\0\x01\0\0\0\0\0\0\0\x03',
    smuggled: '<!--ftypavif--><script>alert(1)</script>', short: 'x', empty: '', 'svg-as-png': fixture('images/plain.svg'), 'png-as-html': fixture('images/rgb.png'),
  }
  const grad = fixture('images/grad.jpg')
  const server = createServer(async (request, response) => {
    const [path, query = ''] = request.url.split('?')
    const [, kind, rest = ''] = /^\/images\/([^/]*)(?:\/(.*))?$/.exec(path) ?? []
    const ok = (body, type = 'image/jpeg', headers = {}) => response.writeHead(200, { 'content-type': type, ...headers }).end(body)
    response.on('error', () => {})
    if (kind === undefined) return response.writeHead(200, { 'content-type': 'image/jpeg' }).end(grad)
    if (kind === 'bytes') return ok(bytes[rest], rest === 'png-as-html' ? 'text/html' : rest === 'svg-as-png' ? 'image/png' : 'image/jpeg')
    if (kind === 'status') return response.writeHead(Number(rest)).end()
    if (kind === 'redirect') {
      const left = Number(rest)
      if (left === 0) return ok(grad)
      return response.writeHead(Number(/status=(\d+)/.exec(query)?.[1] ?? 302), { location: `/images/redirect/${left - 1}` }).end()
    }
    if (kind === 'to') return response.writeHead(302, { location: decodeURIComponent(query) }).end()
    if (kind === 'control') return ok(grad, 'image/jpeg', decodeURIComponent(rest) ? { 'cache-control': decodeURIComponent(rest) } : {})
    if (kind === 'large') {
      response.writeHead(200, { 'content-type': 'image/jpeg' })
      response.write(grad)
      let left = Number(rest) - grad.length
      const piece = Buffer.alloc(1 << 20)
      while (left > 0 && !response.destroyed) {
        const body = piece.subarray(0, Math.min(left, piece.length))
        await new Promise((go) => response.write(body, go))
        left -= piece.length
      }
      return response.end()
    }
    if (kind === 'late') return void (await sleep(12_000), ok(grad))
    if (kind === 'drip') {
      response.writeHead(200, { 'content-type': 'image/jpeg' })
      for (const end = performance.now() + 15_000; performance.now() < end && !response.destroyed; await sleep(200)) response.write(grad.subarray(0, 8))
      return response.end()
    }
    if (kind === 'cut') {
      response.writeHead(200, { 'content-type': 'image/jpeg', 'content-length': grad.length })
      return response.write(grad.subarray(0, 400), () => response.destroy())
    }
    if (kind === 'gzip') return ok(gzipSync(grad), 'image/jpeg', { 'content-encoding': 'gzip' })
    if (kind === 'encodings') return ok(grad, 'image/jpeg', { 'content-encoding': Array.from({ length: 8 }, () => 'gzip').join(', ') })
    const name = kind === 'hostile' ? `hostile/${rest}` : `images/${kind}`
    try {
      if (!/^\w+\/[\w.-]+$/.test(name)) throw new Error('a made-up name')
      return ok(fixture(name), types[name.split('.').at(-1)])
    } catch {
      // Names that the cases make up: all of them are this picture.
      return ok(grad)
    }
  })
  await new Promise((done) => server.listen(0, done))
  return { url: `http://127.0.0.1:${server.address().port}`, stop: () => (server.closeAllConnections(), new Promise((done) => server.close(done))) }
}
