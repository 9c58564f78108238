// What a database of pictures would say. The loader build does not look at the sizes: it asks the service.

export interface PhotoData {
  src: string
  alt: string
  width: number
  height: number
  /** What a tool like plaiceholder would have put there. */
  blurDataURL?: string
}

const FILES: [file: string, alt: string, width: number, height: number][] = [
  ['lake.jpg', 'A mountain lake', 2400, 1600],
  ['coffee.jpg', 'A cup of coffee', 600, 400],
  ['dusk.jpg', 'Dusk over hills', 1280, 1920],
  ['hubble.jpg', 'Galaxies', 1000, 872],
  ['retina.jpg', 'A retina', 1411, 1411],
  ['astronaut.jpg', 'An astronaut', 384, 512],
  ['cat.webp', 'A cat', 451, 300],
  ['logo.png', 'A logo', 1200, 800],
  ['screenshot.png', 'A screenshot', 1440, 900],
]

/** Where the pictures are; read when a page is asked for, not when it is built. */
const origin = () => process.env.ORIGIN_URL ?? 'http://127.0.0.1:4100'

/** Picture `n`; beyond the files, JPEGs that differ from them in their bytes alone. */
export function photo(n: number): PhotoData {
  const blurs: Record<string, string> = JSON.parse(process.env.EXAMPLE_BLURS || '{}')
  const plain = FILES[n]
  const [file, alt, width, height] = plain ?? FILES[n % 6]!
  const path = plain ? file : `${n}/${file}`
  const src = `${origin()}/images/${path}`
  return { src, alt, width, height, blurDataURL: blurs[src] }
}

export function photos(from: number, count: number): PhotoData[] {
  return Array.from({ length: count }, (_, n) => photo(from + n))
}
