// Signed URLs: the published recipe, computed here once more.
import assert from 'node:assert/strict'
import { createHash, createHmac } from 'node:crypto'
import { test } from 'node:test'

import { signDocument, signUrl } from '../dist/sign.js'

const SECRET = 'a-secret-of-at-least-sixteen'

function mac(message) {
  return createHmac('sha256', SECRET).update(message).digest('base64url')
}

test('the path and the sorted parameters are signed', () => {
  const signed = signUrl('https://images.example/image?w=123&url=https%3A%2F%2Fa.example%2Fa.png&q=33', { key: SECRET })
  const message = '/image?q=33&url=https%3A%2F%2Fa.example%2Fa.png&w=123'
  assert.equal(signed, `https://images.example/image?w=123&url=https%3A%2F%2Fa.example%2Fa.png&q=33&s=${mac(message)}`)
})

test('the time and the name of the key are signed too', () => {
  const signed = signUrl('/image?url=%2Fa.png&w=64', { key: `2026-11=${SECRET}`, expires: new Date(1_900_000_000_000) })
  const query = 'url=%2Fa.png&w=64&e=1900000000&kid=2026-11'
  const message = '/image?e=1900000000&kid=2026-11&url=%2Fa.png&w=64'
  assert.equal(signed, `/image?${query}&s=${mac(message)}`)
  const soon = new URL(signUrl('http://h/image?url=%2Fa.png', { key: SECRET, expires: 60 })).searchParams.get('e')
  assert.ok(Math.abs(Number(soon) - Date.now() / 1000 - 60) < 5)
})

test('a secret in base64 is not taken for a name', () => {
  const secret = 'MTIzNDU2Nzg5MDEyMzQ1Ng=='
  const signed = signUrl('/image?url=%2Fa.png', { key: secret })
  assert.equal(signed, `/image?url=%2Fa.png&s=${createHmac('sha256', secret).update('/image?url=%2Fa.png').digest('base64url')}`)
})

test('what was signed before is signed anew', () => {
  const once = signUrl('/image?url=%2Fa.png&w=64', { key: SECRET, expires: 60 })
  assert.equal(signUrl(once, { key: SECRET }), signUrl('/image?url=%2Fa.png&w=64', { key: SECRET }))
})

test('a document is signed by its digest', () => {
  const signed = signDocument('http://h/placeholders', '{"urls":["/a.png"]}', { key: SECRET })
  const digest = createHash('sha256').update('{"urls":["/a.png"]}').digest('hex')
  assert.equal(signed, `http://h/placeholders?b=${digest}&s=${mac(`/placeholders?b=${digest}`)}`)
})

test('without a key, or with a time that is none, it says so', () => {
  assert.throws(() => signUrl('/image?url=%2Fa.png'), /PIXGATE_SIGNING_KEY/)
  assert.throws(() => signUrl('/image', { key: SECRET, expires: new Date('never') }), /expires/)
})
