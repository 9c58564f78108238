// ThumbHash and BlurHash as pictures, against what their authors' own decoders make of the same hashes.
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { blurHashDataURL, thumbHashDataURL } from '@pixgate/next'

import { read } from './png.mjs'

function near(actual, expected, tolerance) {
  assert.equal(actual.length, expected.length)
  assert.ok(actual.every((value, n) => Math.abs(value - expected[n]) <= tolerance), `${actual} is not ${expected}`)
}

test('a ThumbHash, across and upright', () => {
  const lake = read(thumbHashDataURL('4dYJHYJliIePmHeIiCeHhpZzUFoI'))
  assert.deepEqual([lake.width, lake.height], [16, 11])
  near(lake.pixel(0, 0), [93, 126, 196], 4)
  near(lake.pixel(15, 10), [102, 121, 150], 4)
  const dusk = read(thumbHashDataURL('2jcKJQRVeIx4CIhnaIrHR3aAUScI'))
  assert.deepEqual([dusk.width, dusk.height], [11, 16])
  near(dusk.pixel(0, 0), [43, 56, 137], 4)
  near(dusk.pixel(10, 15), [50, 20, 25], 6)
})

test('a ThumbHash with transparency', () => {
  const { width, height, pixel } = read(thumbHashDataURL('Id6CBQA3CGh3iISJJwEh4O/9B2iHeICJZw=='))
  assert.deepEqual([width, height], [16, 16])
  near(pixel(0, 0), [254, 145, 1, 0], 2)
  assert.ok(pixel(8, 8)[3] > 200)
})

test('a BlurHash', () => {
  const lake = read(blurHashDataURL('LaD,$iM}V?s:.AbIWXt6S8ofbIt6', 2400, 1600))
  assert.deepEqual([lake.width, lake.height], [16, 11])
  assert.deepEqual([lake.pixel(0, 0), lake.pixel(1, 0)], [[143, 169, 214], [141, 167, 213]])
  const dusk = read(blurHashDataURL('LGE-:*E3Ioxap3j[oJWD0Nt6ofR*', 1280, 1920))
  assert.deepEqual([dusk.width, dusk.height, dusk.pixel(0, 0)], [11, 16, [76, 48, 129]])
  assert.deepEqual(Object.values(read(blurHashDataURL('00AAAA', 1, 9))).slice(0, 2), [2, 16])
})

test('what is no hash is no picture', () => {
  for (const hash of ['', 'AAAA', '1QcSHQRnh493', '%%%%', 'A'.repeat(500)]) assert.equal(thumbHashDataURL(hash), undefined, hash)
  for (const hash of ['', 'L6', 'L6PZfSi_.AyE', "LaD,$iM}V?s:.AbIWXt6S8ofbIt'", 'LaD,$iM}V?s:.AbIWXt6S8ofbIt6x']) assert.equal(blurHashDataURL(hash, 4, 3), undefined, hash)
  assert.equal(blurHashDataURL('00AAAA', 0, 3), undefined)
})
