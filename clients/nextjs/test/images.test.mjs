import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { hasPlaceholder, Pixgate, PixgateError } from '@pixgate/next'

import { placeholder, problem, start } from './service.mjs'

const SIX = ['src', 'width', 'height', 'blurDataURL', 'blurWidth', 'blurHeight']
const url = (n) => `https://a.example/${n}.jpg`

/** A client that collects what went wrong. */
function client(service, options = {}) {
  const errors = []
  const pixgate = new Pixgate({ url: service.at, onError: (error, src) => errors.push([error.code, src]), ...options })
  return Object.assign(pixgate, { errors })
}

function assertUsable(image, src, size = [1200, 800]) {
  assert.deepEqual(Object.keys(image), SIX)
  assert.deepEqual([image.src, image.width, image.height], [src, ...size])
  assert.match(image.blurDataURL, /^data:image\/png;base64,/)
  assert.equal(hasPlaceholder(image), false)
}

test('gives the six keys of a static import', async (t) => {
  const service = await start(t)
  const image = await client(service).getImage(url(1))
  const { src, width, height, blurDataURL, blurWidth, blurHeight } = placeholder(url(1))
  assert.deepEqual(image, { src, width, height, blurDataURL, blurWidth, blurHeight })
  assert.deepEqual(Object.keys(image), SIX)
  assert.equal(hasPlaceholder(image), true)
  assert.deepEqual(service.last, { method: 'POST', path: '/placeholders', type: 'application/json' })
})

test('keeps the text that the page asked with', async (t) => {
  const service = await start(t, (urls) => urls.map(() => placeholder('https://a.example/normalised.jpg')))
  assert.equal((await client(service).getImage('HTTPS://A.example/x.jpg')).src, 'HTTPS://A.example/x.jpg')
})

test('hands out the hashes to those who ask', async (t) => {
  const service = await start(t)
  const details = await client(service).getDetails(url(1))
  assert.deepEqual([details.blurhash, details.thumbhash, details.dominantColor, details.hasAlpha], ['L6PZfSi_.AyE', '1QcSHQRnh493', '#8a6f4d', false])
})

test('one request for all calls of a turn, also those that promises bring up, each picture once', async (t) => {
  const service = await start(t)
  const pixgate = client(service)
  const later = async (n) => {
    await null
    await Promise.resolve()
    return pixgate.getImage(url(n))
  }
  await Promise.all([pixgate.getImages([url(1), url(2), url(1)]), pixgate.getImage(url(2)), later(3)])
  assert.deepEqual(service.asked, [[url(1), url(2), url(3)]])
})

test('a hundred in a request, in order', async (t) => {
  const service = await start(t, (urls) => urls.map((src) => placeholder(src, { width: Number(/(\d+)\.jpg/.exec(src)[1]) + 1 })))
  const srcs = Array.from({ length: 250 }, (_, n) => url(n))
  const images = await client(service).getImages(srcs)
  assert.deepEqual(service.asked.map((urls) => urls.length).sort(), [100, 100, 50])
  assert.deepEqual(images.map(({ src, width }) => [src, width]), srcs.map((src, n) => [src, n + 1]))
})

test('no more than four requests at once', async (t) => {
  let [now, most] = [0, 0]
  const service = await start(t, async (urls) => {
    most = Math.max(most, ++now)
    await sleep(30)
    now -= 1
    return urls.map((src) => placeholder(src))
  })
  const images = await client(service).getImages(Array.from({ length: 900 }, (_, n) => url(n)))
  assert.deepEqual([service.asked.length, most, images.every(hasPlaceholder)], [9, 4, true])
})

test('what is known is not asked for again until it expires', async (t) => {
  const service = await start(t)
  const pixgate = client(service, { ttlMs: 80 })
  await pixgate.getImage(url(1))
  await pixgate.getImage(url(1))
  assert.equal(service.asked.length, 1)
  await sleep(100)
  await pixgate.getImage(url(1))
  assert.equal(service.asked.length, 2)
})

test('remembers so many and no more, the one used last for longest', async (t) => {
  const service = await start(t)
  const pixgate = client(service, { maxEntries: 2 })
  for (const n of [1, 2, 1, 3, 1, 2]) await pixgate.getImage(url(n))
  assert.deepEqual(service.asked.flat(), [url(1), url(2), url(3), url(2)])
})

test('one refused picture is its own affair', async (t) => {
  const service = await start(t, (urls) => urls.map((src) => (src === url(2) ? problem(src, 403, 'source_not_allowed') : placeholder(src))))
  const pixgate = client(service, { errorTtlMs: 60 })
  const [one, two, three] = await pixgate.getImages([url(1), url(2), url(3)])
  assert.deepEqual([hasPlaceholder(one), hasPlaceholder(three)], [true, true])
  assertUsable(two, url(2))
  assert.deepEqual(pixgate.errors, [['source_not_allowed', url(2)]])
  await pixgate.getImage(url(2))
  assert.equal(service.asked.length, 1, 'a refusal is remembered')
  await sleep(80)
  await pixgate.getImage(url(2))
  assert.equal(service.asked.length, 2, 'for a short while')
})

test('garbage about one picture is its own affair', async (t) => {
  const bad = [null, 7, {}, placeholder(url(3), { width: 0 }), placeholder(url(4), { height: '5' }), placeholder(url(5), { blurDataURL: 'https://a.example/b.png' }),
    placeholder(url(6), { blurDataURL: "data:image/png;base64,AA'/><script>" }), placeholder(url(7), { blurWidth: 0.5 })]
  const service = await start(t, (urls) => [...bad, placeholder(urls.at(-1))])
  const pixgate = client(service)
  const images = await pixgate.getImages(Array.from({ length: 9 }, (_, n) => url(n)))
  assert.deepEqual(images.map(hasPlaceholder), [...bad.map(() => false), true])
  assert.deepEqual(new Set(pixgate.errors.map(([code]) => code)), new Set(['unreadable']))
})

for (const [name, answer, code] of [
  ['500', (_, response) => void response.writeHead(500).end('oh'), 'status'],
  ['404 of something else', (_, response) => void response.writeHead(404).end('<html>'), 'status'],
  ['no JSON', (_, response) => void response.end('<html>'), 'unreadable'],
  ['another document', () => ({ ok: true }), 'unreadable'],
  ['too short a list', () => [], 'unreadable'],
  ['no end', (_, response) => void endless(response), 'unreadable'],
  ['a connection cut', (_, response) => void response.write('[', () => response.destroy()), 'unreachable'],
]) {
  test(`a service that answers with ${name} costs the placeholders and nothing else`, async (t) => {
    const service = await start(t, answer)
    const pixgate = client(service)
    const images = await pixgate.getImages([url(1), url(2)])
    images.forEach((image, n) => assertUsable(image, url(n + 1)))
    assert.deepEqual(pixgate.errors.map(([code]) => code), [code, code])
  })
}

function endless(response) {
  const piece = Buffer.alloc(1 << 20, 32)
  const go = () => response.destroyed || response.write(piece, go)
  go()
}

test('a service that is down costs one try, then is left alone', async (t) => {
  const service = await start(t)
  const pixgate = client(service, { pauseMs: 100 })
  await service.stop()
  const before = performance.now()
  assertUsable(await pixgate.getImage(url(1)), url(1))
  assert.ok(performance.now() - before < 900, 'a refused connection is not waited for')
  assertUsable(await pixgate.getImage(url(1)), url(1))
  assert.deepEqual(pixgate.errors.map(([code]) => code), ['unreachable', 'paused'])
})

test('after the pause the service is asked again', async (t) => {
  const service = await start(t, (_, response) => void response.writeHead(503).end())
  const pixgate = client(service, { pauseMs: 60 })
  await pixgate.getImage(url(1))
  service.answer = (urls) => urls.map((src) => placeholder(src))
  assertUsable(await pixgate.getImage(url(1)), url(1))
  assert.equal(service.asked.length, 1)
  await sleep(80)
  assert.ok(hasPlaceholder(await pixgate.getImage(url(1))))
})

test('a slow service is waited for so long, and what it says later is used', async (t) => {
  const service = await start(t, async (urls) => {
    await sleep(300)
    return urls.map((src) => placeholder(src))
  })
  const pixgate = client(service, { timeoutMs: 100 })
  const before = performance.now()
  assertUsable(await pixgate.getImage(url(1)), url(1))
  const waited = performance.now() - before
  assert.ok(waited >= 95 && waited < 250, `${waited}`)
  assert.deepEqual(pixgate.errors, [['timeout', url(1)]])
  await sleep(300)
  assert.ok(hasPlaceholder(await pixgate.getImage(url(1))))
  assert.equal(service.asked.length, 1)
})

test('the timeout is a second, and of a call what the call says', async (t) => {
  const service = await start(t, () => new Promise(() => {}))
  const pixgate = client(service)
  const took = async (options) => {
    const before = performance.now()
    await pixgate.getImage(url(1), options)
    return performance.now() - before
  }
  const [usual, own] = await Promise.all([took({}), took({ timeoutMs: 50 })])
  assert.ok(usual >= 990 && usual < 1300, `${usual}`)
  assert.ok(own >= 45 && own < 300, `${own}`)
})

test('a hung service is given up, and left alone', async (t) => {
  const service = await start(t, () => new Promise(() => {}))
  const pixgate = client(service, { timeoutMs: 2000, requestTimeoutMs: 60 })
  await pixgate.getImage(url(1))
  await pixgate.getImage(url(2))
  assert.deepEqual(pixgate.errors.map(([code]) => code), ['timeout', 'paused'])
})

test('during next build there is more time: its pages stay', async (t) => {
  process.env.NEXT_PHASE = 'phase-production-build'
  t.after(() => delete process.env.NEXT_PHASE)
  const service = await start(t, async (urls) => {
    await sleep(1300)
    return urls.map((src) => placeholder(src))
  })
  assert.ok(hasPlaceholder(await client(service).getImage(url(1))))
})

test('an old placeholder is better than none', async (t) => {
  const service = await start(t)
  const pixgate = client(service, { ttlMs: 1 })
  await pixgate.getImage(url(1))
  await sleep(10)
  service.answer = (urls) => urls.map((src) => problem(src, 502, 'origin_unreachable'))
  assert.ok(hasPlaceholder(await pixgate.getImage(url(1))))
  assert.ok(hasPlaceholder(await pixgate.getImage(url(1))), 'the refusal did not take its place')
  await service.stop()
  assert.ok(hasPlaceholder(await pixgate.getImage(url(1))))
})

test('without the service, sizes are those that were said', async (t) => {
  const service = await start(t, (_, response) => void response.writeHead(500).end())
  const pixgate = client(service)
  assertUsable(await pixgate.getImage(url(1), { width: 300, height: 100 }), url(1), [300, 100])
  assertUsable(await pixgate.getImage(url(1), { width: 300 }), url(1))
})

test('inlined pictures and SVG are not asked for', async (t) => {
  const service = await start(t)
  for (const src of ['data:image/png;base64,AAAA', 'blob:x', '/a.svg']) assertUsable(await client(service).getImage(src), src)
  assert.equal(service.asked.length, 0)
})

test('without an address there is a warning that names the variables, once', async (t) => {
  const warn = t.mock.method(console, 'warn', () => {})
  const before = { ...process.env }
  t.after(() => (process.env = before))
  delete process.env.PIXGATE_URL
  delete process.env.NEXT_PUBLIC_PIXGATE_URL
  const pixgate = new Pixgate()
  assertUsable(await pixgate.getImage(url(1)), url(1))
  await pixgate.getImage(url(2))
  await new Pixgate({ url: '/relative' }).getImage(url(1))
  const texts = warn.mock.calls.map(({ arguments: [text] }) => text)
  assert.match(texts[0], /PIXGATE_URL nor NEXT_PUBLIC_PIXGATE_URL is set/)
  assert.equal(texts.filter((text) => text.includes('unconfigured')).length, 2)
})

test('a service that speaks no HTTP costs no more than one that is down', async (t) => {
  const server = createServer((socket) => socket.end('220 mail.example.com ESMTP\r\n'))
  await new Promise((done) => server.listen(0, '127.0.0.1', done))
  t.after(() => server.close())
  const pixgate = client({ at: `http://127.0.0.1:${server.address().port}` })
  assertUsable(await pixgate.getImage(url(1)), url(1))
  assert.deepEqual(pixgate.errors.map(([code]) => code), ['unreachable'])
})

test('errors carry code and status', () => {
  const error = new PixgateError('source_not_allowed', 'no', 403)
  assert.ok(error instanceof Error)
  assert.deepEqual([error.name, error.code, error.status], ['PixgateError', 'source_not_allowed', 403])
})
