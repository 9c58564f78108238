// URLs of the service. Pure, and free of Node.js and of Next.js: it runs in the browser too.

/** Qualities that Pixgate takes where nothing else is configured (`images.qualities`). */
export const QUALITIES: readonly number[] = [50, 75, 90]

/** Quality where a picture names none, as in Next.js. */
export const DEFAULT_QUALITY = 75

/** Inlined pictures and objects of the page's memory: no service could fetch them. */
export function isInline(src: string): boolean {
  return /^(?:data|blob):/i.test(src)
}

/** SVG, by its name: it is as sharp at any size, and Next.js's own loader leaves it alone too. */
export function isVector(src: string): boolean {
  return /\.svg$/i.test(src.split(/[?#]/, 1)[0] ?? '')
}

/** Whether the service has nothing to do. */
export function isLeftAlone(src: string): boolean {
  return isInline(src) || isVector(src)
}

/**
 * A picture's own URL, written otherwise than the app did. In development Next.js says of a loader that gives back what it
 * was given that it forgot the width. Browsers send neither a fragment nor a segment of one dot.
 */
export function ownUrl(src: string, width: number): string {
  return src.includes('#') ? src.replace(/^((?:[a-z][a-z0-9+.-]*:)?\/\/[^/?#]*)?\//i, '$1/./') : `${src}#w=${width}`
}

/** Without the `dpl` of a deployment that Next.js hangs on the app's own pictures: it is for the app's host, and a query is not allowed. */
export function withoutDeployment(src: string): string {
  const at = src.indexOf('?')
  if (at < 0 || !src.startsWith('/')) return src
  const pairs = src.slice(at + 1).split('&')
  const rest = pairs.filter((pair) => !pair.startsWith('dpl='))
  if (rest.length === pairs.length) return src
  return rest.length > 0 ? `${src.slice(0, at)}?${rest.join('&')}` : src.slice(0, at)
}

/** The listed quality nearest to the one asked for; the lower of two as near, as Next.js has it. */
export function snapQuality(quality: number | undefined, list: readonly number[] = QUALITIES): number {
  const wish = quality !== undefined && quality >= 1 ? quality : DEFAULT_QUALITY
  const sorted = [...list].sort((a, b) => a - b)
  return sorted.reduce((best, q) => (Math.abs(q - wish) < Math.abs(best - wish) ? q : best), sorted[0] ?? wish)
}

/** A list as it stands in an environment variable: `50,75,90`. What is no quality is left out. */
export function parseQualities(text: string | undefined): readonly number[] {
  const list = (text ?? '').split(',').map(Number).filter((q) => Number.isInteger(q) && q >= 1 && q <= 100)
  return list.length > 0 ? list : QUALITIES
}

/** A base URL without the slashes at its end, so that paths can be hung on it. */
export function trimBase(url: string): string {
  return url.replace(/\/+$/, '')
}

/** The URL of `/image`. The same wish gives the same text on server and client, or React would complain. */
export function imageUrl(base: string, src: string, width: number, quality: number): string {
  return `${trimBase(base)}/image?url=${encodeURIComponent(src)}&w=${width}&q=${quality}`
}
