// ThumbHash and BlurHash as pictures, against what their authors' own decoders make of the same hashes.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { crc32, inflateSync } from 'node:zlib'

import { blurHashDataURL, thumbHashDataURL } from '@pixgate/next'

/** Reads back a PNG as strictly as a browser: signature, checksums, one filter byte a row. */
function read(url) {
  assert.match(url, /^data:image\/png;base64,[A-Za-z0-9+/]+={0,2}$/)
  const png = Buffer.from(url.slice('data:image/png;base64,'.length), 'base64')
  assert.deepEqual([...png.subarray(0, 8)], [137, 80, 78, 71, 13, 10, 26, 10])
  const chunks = {}
  for (let at = 8; at < png.length; ) {
    const end = at + 8 + png.readUInt32BE(at)
    // Node.js 18 has no crc32 to judge by.
    if (crc32) assert.equal(png.readUInt32BE(end), crc32(png.subarray(at + 4, end)))
    chunks[png.toString('latin1', at + 4, at + 8)] = png.subarray(at + 8, end)
    at = end + 4
  }
  const [width, height] = [chunks.IHDR.readUInt32BE(0), chunks.IHDR.readUInt32BE(4)]
  const channels = chunks.IHDR[9] === 6 ? 4 : 3
  const rows = inflateSync(chunks.IDAT)
  assert.equal(rows.length, height * (1 + width * channels))
  const pixel = (x, y) => {
    const row = rows.subarray(y * (1 + width * channels), (y + 1) * (1 + width * channels))
    assert.equal(row[0], 1)
    return Array.from({ length: channels }, (_, c) => Array.from({ length: x + 1 }, (_, n) => row[1 + n * channels + c]).reduce((a, b) => (a + b) & 255))
  }
  return { width, height, pixel }
}

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
