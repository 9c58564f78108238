// The service's small picture, blurred before the browser has it.
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { blurredDataURL } from '../dist/blur.js'
import { read, write } from './png.mjs'

/** As the service's: eight pixels wide. */
const PICTURE = Array.from({ length: 5 }, (_, y) => Array.from({ length: 8 }, (_, x) => [x * 30, y * 60, (x * y * 37) % 256]))

function all({ width, height, pixel }) {
  return Array.from({ length: width * height }, (_, n) => pixel(n % width, Math.floor(n / width)))
}

test('twice the size, and as much of each colour as before', () => {
  const blurred = read(blurredDataURL(write(PICTURE)))
  assert.deepEqual([blurred.width, blurred.height], [16, 10])
  const mean = (pixels, channel) => pixels.reduce((sum, pixel) => sum + pixel[channel], 0) / pixels.length
  for (const channel of [0, 1]) assert.ok(Math.abs(mean(all(blurred), channel) - mean(PICTURE.flat(), channel)) < 1)
  const plain = read(blurredDataURL(write([[[1, 2, 3], [1, 2, 3]], [[1, 2, 3], [1, 2, 3]]])))
  assert.ok(all(plain).every((pixel) => pixel.join() === '1,2,3'))
})

test('an edge is soft, over about two of the small picture’s pixels', () => {
  const edge = read(blurredDataURL(write([Array.from({ length: 8 }, (_, x) => (x < 4 ? [0, 0, 0] : [255, 255, 255]))])))
  const row = Array.from({ length: 16 }, (_, x) => edge.pixel(x, 0)[0])
  // A quarter of a pixel beside the edge it is (1 - 0.25)^3 / 6 of the next but one and 2/3 - 0.25^2 + 0.25^3 / 2 of the next.
  assert.equal(row[8], Math.round((0.75 ** 3 / 6 + 2 / 3 - 0.25 ** 2 + 0.25 ** 3 / 2) * 255))
  assert.deepEqual(row, [0, 0, 0, 0, 0, 1, 18, 81, 174, 237, 254, 255, 255, 255, 255, 255])
})

test('what is not seen has no colour', () => {
  const [clear, red] = [[0, 255, 0, 0], [200, 0, 0, 255]]
  const blurred = read(blurredDataURL(write([[clear, clear, red, red]])))
  const seen = all(blurred).filter(([, , , alpha]) => alpha > 0)
  assert.ok(seen.length >= 4 && seen.length < 8 * 2 && seen.some(([, , , alpha]) => alpha < 255))
  assert.ok(seen.every(([r, g, b]) => r === 200 && g === 0 && b === 0), JSON.stringify(seen))
})

test('each filter of PNG is read', () => {
  const pictures = [0, 1, 2, 3, 4].map((filter) => blurredDataURL(write(PICTURE, filter)))
  assert.ok(pictures[0])
  assert.deepEqual(new Set(pictures).size, 1)
})

test('what is no small PNG is left alone', () => {
  const url = write(PICTURE)
  const png = Buffer.from(url.slice(url.indexOf(',') + 1), 'base64')
  const changed = (at, value) => `data:image/png;base64,${Buffer.from(png.map((byte, n) => (n === at ? value : byte))).toString('base64')}`
  assert.equal(changed(19, 8), url)
  // Not its size, too large a size, 16 bits a channel, a palette, interlaced.
  for (const [at, value] of [[19, 9], [23, 4], [18, 1], [19, 0], [24, 16], [25, 3], [28, 1], [0, 0]]) assert.equal(blurredDataURL(changed(at, value)), undefined, `${at}`)
  assert.ok(blurredDataURL(write([Array(64).fill([1, 2, 3])])))
  assert.equal(blurredDataURL(write([Array(65).fill([1, 2, 3])])), undefined)
  for (const cut of [0, 20, 40, png.length - 20]) assert.equal(blurredDataURL(`data:image/png;base64,${png.subarray(0, cut).toString('base64')}`), undefined, `${cut} bytes`)
  for (const other of ['', 'data:image/png;base64,', 'data:image/webp;base64,AAAA', url.replace('png', 'jpeg')]) assert.equal(blurredDataURL(other), undefined)
})
