import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'

import loader from '@pixgate/next/loader'
import { snapQuality } from '@pixgate/next'

const BASE = 'https://img.example.com'

function withBase(t, base = BASE, qualities) {
  const before = { ...process.env }
  t.after(() => (process.env = before))
  process.env.NEXT_PUBLIC_PIXGATE_URL = base
  if (qualities !== undefined) process.env.NEXT_PUBLIC_PIXGATE_QUALITIES = qualities
}

test('forms the URL of /image', (t) => {
  withBase(t)
  assert.equal(loader({ src: 'https://a.example/x y.jpg?v=1&w=2#f', width: 640 }),
    `${BASE}/image?url=https%3A%2F%2Fa.example%2Fx%20y.jpg%3Fv%3D1%26w%3D2%23f&w=640&q=75`)
  assert.equal(loader({ src: '/hero.jpg', width: 3840, quality: 90 }), `${BASE}/image?url=%2Fhero.jpg&w=3840&q=90`)
})

test('says the same again for the same wish', (t) => {
  withBase(t)
  const wish = { src: '/a.jpg', width: 640, quality: 50 }
  assert.equal(loader({ ...wish }), loader({ ...wish }))
})

test('slashes at the end of the base do not double, and a path of the same host will do', (t) => {
  withBase(t, `${BASE}/pix//`)
  assert.ok(loader({ src: '/a.jpg', width: 16 }).startsWith(`${BASE}/pix/image?`))
  process.env.NEXT_PUBLIC_PIXGATE_URL = '/'
  assert.equal(loader({ src: '/a.jpg', width: 16 }), '/image?url=%2Fa.jpg&w=16&q=75')
})

test('snaps the quality to the list of the service', (t) => {
  withBase(t)
  const q = (quality) => Number(new URL(loader({ src: '/a.jpg', width: 64, quality })).searchParams.get('q'))
  for (const [asked, sent] of [[undefined, 75], [0, 75], [NaN, 75], [1, 50], [62, 50], [63, 75], [75, 75], [80, 75], [82, 75], [83, 90], [100, 90]]) {
    assert.equal(q(asked), sent, `${asked}`)
  }
  process.env.NEXT_PUBLIC_PIXGATE_QUALITIES = '60, 95'
  assert.deepEqual([q(undefined), q(60), q(100), q(77), q(78)], [60, 60, 95, 60, 95])
  process.env.NEXT_PUBLIC_PIXGATE_QUALITIES = 'none'
  assert.equal(q(100), 90)
  assert.equal(snapQuality(60, [70, 50]), 50, 'the lower of two as near')
})

test('leaves alone what the service has nothing to do with', (t) => {
  withBase(t)
  for (const src of ['data:image/png;base64,AAAA', 'DATA:image/gif,x', 'blob:https://a.example/1', 'data:image/svg+xml,<svg/>']) {
    assert.equal(loader({ src, width: 64 }), src)
  }
  assert.ok(loader({ src: '/svg', width: 64 }).startsWith(BASE))
  assert.ok(loader({ src: '/a.jpg?x=.svg', width: 64 }).startsWith(BASE))
})

test('SVG is asked for where it is, in a text that Next.js does not take for a loader without widths', (t) => {
  withBase(t)
  const page = 'https://shop.example/a/b'
  for (const src of ['/logo.svg', 'https://a.example/l.SVG?v=1', '/sprite.svg#icon', 'https://a.example:8443/x/sprite.svg?v=/1#icon', '//a.example/l.svg#i', '/l.svg?dpl=1']) {
    const said = loader({ src, width: 64 })
    assert.notEqual(said, src)
    const [asked, own] = [new URL(said, page), new URL(src, page)]
    if (own.hash) assert.equal(asked.href, own.href, 'a part of a picture is a part still')
    asked.hash = own.hash = ''
    assert.equal(asked.href, own.href)
  }
  assert.equal(loader({ src: '/logo.svg', width: 64 }), '/logo.svg#w=64')
})

test('the deployment that Next.js hangs on a picture of the app is not asked for', (t) => {
  withBase(t)
  const asked = (src) => new URL(loader({ src, width: 64 })).searchParams.get('url')
  assert.equal(asked('/_next/static/media/a.1.jpg?dpl=dpl_1'), '/_next/static/media/a.1.jpg')
  assert.equal(asked('/a.jpg?v=1&dpl=x&w=2'), '/a.jpg?v=1&w=2')
  assert.equal(asked('/a.jpg?v=1?2'), '/a.jpg?v=1?2')
  assert.equal(asked('https://a.example/a.jpg?dpl=1'), 'https://a.example/a.jpg?dpl=1')
})

test('names the variable that is missing', (t) => {
  withBase(t)
  delete process.env.NEXT_PUBLIC_PIXGATE_URL
  assert.throws(() => loader({ src: '/a.jpg', width: 64 }), /NEXT_PUBLIC_PIXGATE_URL is not set/)
})

test('is no client module, and spells its variables out for Next.js to replace', () => {
  const text = readFileSync(new URL('../dist/loader.js', import.meta.url), 'utf8')
  assert.doesNotMatch(text, /use client';?\n/)
  for (const name of ['URL', 'QUALITIES', 'ALLOWED']) assert.ok(text.includes(`process.env.NEXT_PUBLIC_PIXGATE_${name}`))
})

test('in development, says as Next.js does which host is not configured', (t) => {
  withBase(t)
  const host = { hostname: '^(?:.*\\.)?ok\\.example$', pathname: '^(?:\\/a\\/.*)$' }
  const allowed = { domains: ['old.example'], remotePatterns: [{ ...host, protocol: 'https' }, { ...host, protocol: 'http', port: '81', search: '?v=1' }], localPatterns: [{ pathname: '^\\/p\\/.*$', search: '' }] }
  process.env.NEXT_PUBLIC_PIXGATE_ALLOWED = JSON.stringify(allowed)
  const ask = (src) => loader({ src, width: 64 })
  assert.ok(ask('https://evil.example/a.jpg'), 'in production, the service decides')
  process.env.NODE_ENV = 'development'
  for (const src of ['https://ok.example/a/1.jpg?x=1', 'https://i.ok.example/a/1', 'http://ok.example:81/a/1?v=1', 'http://old.example:99/x?y', '/p/hero.jpg', '/p/hero.jpg?dpl=1', '/x.svg', 'data:image/png;base64,AA']) assert.ok(ask(src), src)
  for (const src of ['https://evil.example/a/1.jpg', 'https://ok.example/b', 'http://ok.example/a/1', 'http://ok.example:81/a/1']) {
    assert.throws(() => ask(src), new RegExp(`Invalid src prop .* hostname "${new URL(src).hostname}" is not configured under images in your .next\\.config\\.js`), src)
  }
  for (const src of ['/q/hero.jpg', '/p/hero.jpg?v=1']) assert.throws(() => ask(src), /does not match `images\.localPatterns`/, src)
  assert.throws(() => ask('hero.jpg'), /must start with a leading slash/)
  delete process.env.NEXT_PUBLIC_PIXGATE_ALLOWED
  assert.ok(ask('https://evil.example/a.jpg'), 'an app that does not use withPixgate')
})
