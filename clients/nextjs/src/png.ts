// PNG, as much of it as placeholders are made of: 8 bits a channel, with or without alpha, not interlaced.

import { deflateSync, inflateSync } from 'node:zlib'

/** Bytes of red, green, blue and alpha, row by row. */
export interface Pixels {
  width: number
  height: number
  rgba: Uint8Array
}

const PREFIX = 'data:image/png;base64,'
const SIGNATURE = Buffer.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a)
/** Longest side that is read: a placeholder has less. */
const LONGEST = 64

/** The picture of a `data:` URL; undefined for one that is not as small or not as plain as a placeholder. */
export function readPng(url: string): Pixels | undefined {
  if (!url.startsWith(PREFIX)) return undefined
  const png = Buffer.from(url.slice(PREFIX.length), 'base64')
  if (png.length < 33 || !png.subarray(0, 8).equals(SIGNATURE)) return undefined
  const [width, height] = [png.readUInt32BE(16), png.readUInt32BE(20)]
  const channels = png[25] === 6 ? 4 : 3
  const plain = png[24] === 8 && (png[25] === 2 || png[25] === 6) && png[28] === 0
  if (!plain || !(width > 0 && width <= LONGEST && height > 0 && height <= LONGEST)) return undefined
  const data: Buffer[] = []
  for (let at = 8; at + 12 <= png.length; at += 12 + png.readUInt32BE(at)) {
    if (png.toString('latin1', at + 4, at + 8) === 'IDAT') data.push(png.subarray(at + 8, at + 8 + png.readUInt32BE(at)))
  }
  const stride = width * channels
  let rows: Buffer
  try {
    rows = inflateSync(Buffer.concat(data), { maxOutputLength: height * (stride + 1) })
  } catch {
    return undefined
  }
  if (rows.length !== height * (stride + 1)) return undefined
  const rgba = new Uint8Array(width * height * 4).fill(255)
  for (let y = 0; y < height; y += 1) {
    const filter = rows[y * (stride + 1)]!
    for (let at = 0; at < stride; at += 1) {
      rgba[place(width, channels, y, at)] = rows[y * (stride + 1) + 1 + at]! + guess(filter, rgba, width, channels, y, at)
    }
  }
  return { width, height, rgba }
}

/** The picture as a `data:` URL. */
export function pngDataURL({ width, height, rgba }: Pixels): string {
  const opaque = rgba.every((value, at) => at % 4 !== 3 || value === 255)
  const channels = opaque ? 3 : 4
  const stride = width * channels
  const rows = Buffer.alloc(height * (stride + 1))
  for (let y = 0; y < height; y += 1) {
    rows[y * (stride + 1)] = PAETH
    for (let at = 0; at < stride; at += 1) {
      rows[y * (stride + 1) + 1 + at] = rgba[place(width, channels, y, at)]! - guess(PAETH, rgba, width, channels, y, at)
    }
  }
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  header.set([8, opaque ? 2 : 6], 8)
  const png = Buffer.concat([SIGNATURE, chunk('IHDR', header), chunk('IDAT', deflateSync(rows, { level: 9 })), chunk('IEND', Buffer.alloc(0))])
  return `${PREFIX}${png.toString('base64')}`
}

/** Where byte `at` of row `y` of the file is among the pixels. */
function place(width: number, channels: number, y: number, at: number): number {
  return (y * width + Math.floor(at / channels)) * 4 + (at % channels)
}

/** The filter that leaves the least of a smooth picture. */
const PAETH = 4

/** What a filter takes a byte to be from those before it and above it; the file has what it differs by. */
function guess(filter: number, rgba: Uint8Array, width: number, channels: number, y: number, at: number): number {
  const here = place(width, channels, y, at)
  const left = at >= channels ? rgba[here - 4]! : 0
  const up = y > 0 ? rgba[here - width * 4]! : 0
  if (filter === 1) return left
  if (filter === 2) return up
  if (filter === 3) return (left + up) >> 1
  if (filter !== PAETH) return 0
  const corner = at >= channels && y > 0 ? rgba[here - width * 4 - 4]! : 0
  const [toLeft, toUp, toCorner] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)]
  if (toLeft <= toUp && toLeft <= toCorner) return left
  return toUp <= toCorner ? up : corner
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)]
  length.writeUInt32BE(data.length)
  check.writeUInt32BE(crc32(body))
  return Buffer.concat([length, body, check])
}

/** Node.js has one of its own from version 20.15 only. */
function crc32(bytes: Uint8Array): number {
  let crc = ~0
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0)
  }
  return ~crc >>> 0
}
