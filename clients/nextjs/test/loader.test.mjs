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
  for (const src of ['data:image/png;base64,AAAA', 'DATA:image/gif,x', 'blob:https://a.example/1', '/logo.svg', 'https://a.example/l.SVG?v=1']) {
    assert.equal(loader({ src, width: 64 }), src)
  }
  assert.notEqual(loader({ src: '/svg', width: 64 }), '/svg')
  assert.notEqual(loader({ src: '/a.jpg?x=.svg', width: 64 }), '/a.jpg?x=.svg')
})

test('names the variable that is missing', (t) => {
  withBase(t)
  delete process.env.NEXT_PUBLIC_PIXGATE_URL
  assert.throws(() => loader({ src: '/a.jpg', width: 64 }), /NEXT_PUBLIC_PIXGATE_URL is not set/)
})

test('is a client module, and spells its variables out for Next.js to replace', () => {
  const text = readFileSync(new URL('../dist/loader.js', import.meta.url), 'utf8')
  assert.match(text, /^'use client'/)
  for (const name of ['URL', 'QUALITIES']) assert.ok(text.includes(`process.env.NEXT_PUBLIC_PIXGATE_${name}`))
})
