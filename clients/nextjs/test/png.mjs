// PNG as the format's description has it, to judge the package's by.
import assert from 'node:assert/strict'
import { crc32, deflateSync, inflateSync } from 'node:zlib'

const PREFIX = 'data:image/png;base64,'
const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10]

/** Reads back a PNG as strictly as a browser: signature, checksums, one filter byte a row, here always that of Paeth. */
export function read(url) {
  assert.match(url, /^data:image\/png;base64,[A-Za-z0-9+/]+={0,2}$/)
  const png = Buffer.from(url.slice(PREFIX.length), 'base64')
  assert.deepEqual([...png.subarray(0, 8)], SIGNATURE)
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
  const pixels = []
  const pixel = (x, y) => pixels[y]?.[x] ?? Array(channels).fill(0)
  for (let y = 0; y < height; y += 1) {
    const row = rows.subarray(y * (1 + width * channels), (y + 1) * (1 + width * channels))
    assert.equal(row[0], 4)
    pixels.push([])
    for (let x = 0; x < width; x += 1) {
      const [left, up, corner] = [pixel(x - 1, y), pixel(x, y - 1), pixel(x - 1, y - 1)]
      pixels[y].push(left.map((_, c) => (row[1 + x * channels + c] + paeth(left[c], up[c], corner[c])) & 255))
    }
  }
  return { width, height, pixel }
}

/** A PNG of rows of pixels of three or four channels, by one of the five filters. */
export function write(pixels, filter = 0) {
  const [height, width, channels] = [pixels.length, pixels[0].length, pixels[0][0].length]
  const at = (x, y) => pixels[y]?.[x] ?? Array(channels).fill(0)
  const rows = pixels.flatMap((row, y) => [filter, ...row.flatMap((pixel, x) => {
    const [left, up, corner] = [at(x - 1, y), at(x, y - 1), at(x - 1, y - 1)]
    return pixel.map((value, c) => value - [0, left[c], up[c], Math.floor((left[c] + up[c]) / 2), paeth(left[c], up[c], corner[c])][filter])
  })])
  const header = Buffer.from([0, 0, 0, width, 0, 0, 0, height, 8, channels === 4 ? 6 : 2, 0, 0, 0])
  const chunk = (type, data) => {
    const body = Buffer.concat([Buffer.from(type), data])
    const framed = Buffer.alloc(body.length + 8)
    framed.writeUInt32BE(data.length)
    framed.set(body, 4)
    // Node.js 18 has none; then nobody looks at it either.
    framed.writeUInt32BE(crc32?.(body) ?? 0, body.length + 4)
    return framed
  }
  const png = [Buffer.from(SIGNATURE), chunk('IHDR', header), chunk('IDAT', deflateSync(Uint8Array.from(rows))), chunk('IEND', Buffer.alloc(0))]
  return PREFIX + Buffer.concat(png).toString('base64')
}

function paeth(left, up, corner) {
  const distances = [left, up, corner].map((value) => Math.abs(left + up - corner - value))
  return [left, up, corner][distances.indexOf(Math.min(...distances))]
}
