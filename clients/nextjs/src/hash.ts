// ThumbHash and BlurHash as pictures that a page can carry: a `data:` URL of a small PNG, which the browser enlarges
// smoothly. Both are decoded as their authors describe them. What is no hash gives no picture.

import { type Pixels, pngDataURL } from './png.js'

/** Longest side. Neither hash knows anything finer. */
const LONGEST = 16

/** A ThumbHash in base64 as a `data:` URL; undefined for anything else. */
export function thumbHashDataURL(thumbhash: string): string | undefined {
  const hash = Buffer.from(thumbhash, 'base64')
  const pixels = hash.length >= 5 && hash.length <= 64 ? ofThumbHash(hash) : undefined
  return pixels && pngDataURL(pixels)
}

/** A BlurHash as a `data:` URL with the proportions of `width` and `height`; undefined for anything else. */
export function blurHashDataURL(blurhash: string, width: number, height: number): string | undefined {
  const pixels = width > 0 && height > 0 ? ofBlurHash(blurhash, width / height) : undefined
  return pixels && pngDataURL(pixels)
}

function sized(ratio: number): { width: number; height: number } {
  const width = ratio >= 1 ? LONGEST : Math.max(1, Math.round(LONGEST * ratio))
  return { width, height: ratio >= 1 ? Math.max(1, Math.round(LONGEST / ratio)) : LONGEST }
}

/** Each pixel of a picture. */
function drawn(size: { width: number; height: number }, pixel: (x: number, y: number) => [number, number, number, number]): Pixels {
  const rgba = new Uint8Array(size.width * size.height * 4)
  for (let y = 0; y < size.height; y += 1) {
    for (let x = 0; x < size.width; x += 1) {
      rgba.set(pixel(x, y).map((value) => Math.max(0, Math.min(255, Math.round(value)))), (y * size.width + x) * 4)
    }
  }
  return { ...size, rgba }
}

/** The cosines of a basis at the middle of pixel `at` of `length`. */
function basis(count: number, at: number, length: number): number[] {
  return Array.from({ length: count }, (_, n) => Math.cos((Math.PI / length) * (at + 0.5) * n))
}

function ofThumbHash(hash: Uint8Array): Pixels | undefined {
  const byte = (at: number) => hash[at] ?? 0
  const colours = byte(0) | (byte(1) << 8) | (byte(2) << 16)
  const shape = byte(3) | (byte(4) << 8)
  const hasAlpha = colours >> 23 !== 0
  const landscape = shape >> 15 !== 0
  const [long, short] = [hasAlpha ? 5 : 7, shape & 7]
  if (short === 0) return undefined
  const [lx, ly] = landscape ? [long, Math.max(3, short)] : [Math.max(3, short), long]
  let nibble = (hasAlpha ? 6 : 5) * 2
  const missing = () => nibble > hash.length * 2
  /** The coefficients of a channel, by row: those on this side of the diagonal. */
  const channel = (nx: number, ny: number, constant: number, scale: number) => {
    const terms: [x: number, y: number, value: number][] = [[0, 0, constant]]
    for (let y = 0; y < ny; y += 1) {
      for (let x = y === 0 ? 1 : 0; x * ny < nx * (ny - y); x += 1, nibble += 1) {
        const value = (((byte(nibble >> 1) >> ((nibble & 1) * 4)) & 15) / 7.5 - 1) * scale
        // All but the mean count twice: a cosine's own square has half the mean of a constant's.
        terms.push([x, y, value * 2])
      }
    }
    return terms
  }
  const light = channel(lx, ly, (colours & 63) / 63, ((colours >> 18) & 31) / 31)
  const yellow = channel(3, 3, ((colours >> 6) & 63) / 31.5 - 1, (((shape >> 3) & 63) / 63) * 1.25)
  const red = channel(3, 3, ((colours >> 12) & 63) / 31.5 - 1, (((shape >> 9) & 63) / 63) * 1.25)
  const alpha = hasAlpha ? channel(5, 5, (byte(5) & 15) / 15, (byte(5) >> 4) / 15) : []
  if (missing()) return undefined
  const size = sized(landscape ? long / short : short / long)
  return drawn(size, (x, y) => {
    const [across, down] = [basis(7, x, size.width), basis(7, y, size.height)]
    const sum = (terms: [number, number, number][]) => terms.reduce((total, [cx, cy, value]) => total + value * across[cx]! * down[cy]!, 0)
    const [l, p, q] = [sum(light), sum(yellow), sum(red)]
    const b = l - (2 / 3) * p
    const r = (3 * l - b + q) / 2
    return [r * 255, (r - q) * 255, b * 255, hasAlpha ? sum(alpha) * 255 : 255]
  })
}

const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~'

const toLinear = (code: number) => (code <= 10.31475 ? code / 255 / 12.92 : ((code / 255 + 0.055) / 1.055) ** 2.4)
const toSrgb = (light: number) => (light <= 0.0031308 ? light * 12.92 : 1.055 * light ** (1 / 2.4) - 0.055) * 255

function ofBlurHash(hash: string, ratio: number): Pixels | undefined {
  if ([...hash].some((digit) => !DIGITS.includes(digit))) return undefined
  const number = (from: number, to: number) => [...hash.slice(from, to)].reduce((sum, digit) => sum * 83 + DIGITS.indexOf(digit), 0)
  const count = number(0, 1)
  const [nx, ny] = [(count % 9) + 1, Math.floor(count / 9) + 1]
  if (hash.length !== 4 + 2 * nx * ny) return undefined
  const scale = (number(1, 2) + 1) / 166
  const signed = (digit: number) => Math.sign(digit - 9) * ((digit - 9) / 9) ** 2 * scale
  const terms = Array.from({ length: nx * ny }, (_, n): [number, number, number] => {
    if (n === 0) {
      const colour = number(2, 6)
      return [toLinear(colour >> 16), toLinear((colour >> 8) & 255), toLinear(colour & 255)]
    }
    const value = number(4 + n * 2, 6 + n * 2)
    return [signed(Math.floor(value / 361)), signed(Math.floor(value / 19) % 19), signed(value % 19)]
  })
  const size = sized(ratio)
  return drawn(size, (x, y) => {
    // BlurHash measures from the pixel's edge.
    const [across, down] = [basis(nx, x - 0.5, size.width), basis(ny, y - 0.5, size.height)]
    const sum = (channel: 0 | 1 | 2) => terms.reduce((total, term, n) => total + term[channel] * across[n % nx]! * down[Math.floor(n / nx)]!, 0)
    return [toSrgb(sum(0)), toSrgb(sum(1)), toSrgb(sum(2)), 255]
  })
}
