// The service's small picture as Next.js's blur shows it, but blurred here: Next.js puts a filter of SVG around it, which the
// browser computes for every pixel of the page. Without a GPU that holds the pictures themselves up.

import { type Pixels, pngDataURL, readPng } from './png.js'

/** Pixels for one: enough that no creases are seen when the browser enlarges it. */
const TIMES = 2

/** `blurDataURL`, blurred, as a `data:` URL of its own; undefined when it is no PNG of a placeholder's size. */
export function blurredDataURL(blurDataURL: string): string | undefined {
  const pixels = readPng(blurDataURL)
  return pixels && pngDataURL(blurred(pixels))
}

/** By cubic B-splines, which look like the filter's half a pixel, twice. */
function blurred({ width, height, rgba }: Pixels): Pixels {
  const [columns, rows] = [taps(width), taps(height)]
  const drawn = new Uint8Array(columns.length * rows.length * 4)
  rows.forEach((down, y) => {
    columns.forEach((across, x) => {
      const sum: [number, number, number] = [0, 0, 0]
      let alpha = 0
      for (const [sourceY, weightY] of down) {
        for (const [sourceX, weightX] of across) {
          const from = (sourceY * width + sourceX) * 4
          // A colour counts for as much as is seen of it.
          const weight = weightX * weightY * rgba[from + 3]!
          sum[0] += weight * rgba[from]!
          sum[1] += weight * rgba[from + 1]!
          sum[2] += weight * rgba[from + 2]!
          alpha += weight
        }
      }
      if (alpha > 0) drawn.set([...sum.map((value) => Math.round(value / alpha)), Math.round(alpha)], (y * columns.length + x) * 4)
    })
  })
  return { width: columns.length, height: rows.length, rgba: drawn }
}

/** For each pixel of a line `TIMES` as long, what it is made of: pixels of the line, those at its ends going on, and weights. */
function taps(length: number): [from: number, weight: number][][] {
  return Array.from({ length: length * TIMES }, (_, n) => {
    const middle = (n + 0.5) / TIMES - 0.5
    const first = Math.floor(middle) - 1
    return [0, 1, 2, 3].map((tap) => [Math.max(0, Math.min(length - 1, first + tap)), spline(Math.abs(first + tap - middle))])
  })
}

function spline(distance: number): number {
  if (distance >= 2) return 0
  return distance < 1 ? 2 / 3 - distance ** 2 + distance ** 3 / 2 : (2 - distance) ** 3 / 6
}
