// URLs of the service. Pure, and free of Node.js and of Next.js: it runs in the browser too.

/** Qualities that Pixgate takes where nothing else is configured (`images.qualities`). */
export const QUALITIES: readonly number[] = [50, 75, 90]

/** Quality where a picture names none, as in Next.js. */
export const DEFAULT_QUALITY = 75

/** Inlined pictures and objects of the page's memory: no service could fetch them. */
export function isInline(src: string): boolean {
  return /^(?:data|blob):/i.test(src)
}

/** Whether the service has nothing to do: inlined pictures, and SVG, which Next.js's own loader leaves alone too. */
export function isLeftAlone(src: string): boolean {
  return isInline(src) || /\.svg$/i.test(src.split(/[?#]/, 1)[0] ?? '')
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
