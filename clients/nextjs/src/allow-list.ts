// What the service has to allow, in the shape of the `.next/images-manifest.json` of `next build`, which
// `pixgate import-next` reads. The patterns are compiled by the same library, of the app's own Next.js.

import { randomBytes } from 'node:crypto'
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'

import type { NextConfig } from 'next'

type Images = NonNullable<NextConfig['images']>
type RemotePattern = NonNullable<Images['remotePatterns']>[number]
type LocalPattern = NonNullable<Images['localPatterns']>[number]
type MakeRegex = (glob: string, options?: { dot: boolean }) => RegExp

/** The app's Next.js: its version and its matcher of globs. */
interface Next {
  major: number
  makeRegex: MakeRegex
}

/** Pictures that the app was built with are always its own to ask for. */
const BUILT: LocalPattern[] = [
  { pathname: '/_next/static/media/**', search: '' },
  { pathname: '/_next/static/immutable/media/**', search: '' },
]

export function appsNext(dir: string): Next {
  const require = createRequire(join(dir, 'package.json'))
  try {
    const { version } = require('next/package.json') as { version: string }
    const { makeRe } = require('next/dist/compiled/picomatch') as { makeRe: MakeRegex }
    return { major: Number.parseInt(version, 10), makeRegex: makeRe }
  } catch (error) {
    throw new Error(`@pixgate/next: ${dir} has no Next.js whose patterns could be read: ${String(error)}`)
  }
}

/** Which pictures a configuration allows, its patterns as the sources of regular expressions. */
export interface Allowed {
  domains: string[]
  remotePatterns: { protocol?: string | undefined; hostname: string; port?: string | undefined; pathname: string; search?: string | undefined }[]
  localPatterns?: { pathname: string; search?: string | undefined }[] | undefined
}

/** `defaults` are those of the app's Next.js. */
export function allowedOf(config: NextConfig, defaults: Images, next: Next): Allowed {
  const images = { ...defaults, ...config.images }
  const path = (glob: string | undefined) => next.makeRegex(glob ?? '**', { dot: true }).source
  return {
    domains: images.domains ?? [],
    remotePatterns: [...(images.remotePatterns ?? []), ...assets(config, next)].map((pattern) => ({
      protocol: pattern.protocol?.replace(/:$/, ''),
      hostname: next.makeRegex(pattern.hostname).source,
      port: pattern.port,
      pathname: path(pattern.pathname),
      search: pattern.search,
    })),
    localPatterns: localPatterns(images.localPatterns, next.major)?.map(({ pathname, search }) => ({ pathname: path(pathname), search })),
  }
}

/** The manifest of a configuration. */
export function manifestOf(config: NextConfig, defaults: Images, next: Next): string {
  const own = config.images ?? {}
  const images = { ...defaults, ...own }
  const { domains, remotePatterns, localPatterns } = allowedOf(config, defaults, next)
  const manifest = {
    version: 1,
    images: {
      deviceSizes: images.deviceSizes,
      imageSizes: images.imageSizes,
      // The loader forms URLs of /image and has no path; the default loader forms those of /_next/image.
      ...(own.loader !== 'custom' && { path: images.path }),
      domains,
      formats: images.formats,
      qualities: images.qualities,
      dangerouslyAllowSVG: images.dangerouslyAllowSVG ?? false,
      dangerouslyAllowLocalIP: images.dangerouslyAllowLocalIP,
      localPatterns,
      remotePatterns,
      // Also where the app does not say: a file in public/ keeps its name when a deploy changes it, and the service's own
      // default is a month.
      minimumCacheTTL: images.minimumCacheTTL,
      maximumRedirects: own.maximumRedirects,
      maximumResponseBody: own.maximumResponseBody,
      contentDispositionType: own.contentDispositionType,
      unoptimized: images.unoptimized ?? false,
    },
  }
  return `${JSON.stringify(manifest, null, 2)}\n`
}

/** As Next.js fills them in; without any, it has allowed no query on a path of the app since version 16. */
function localPatterns(given: LocalPattern[] | undefined, major: number): LocalPattern[] | undefined {
  if (!given) return major >= 16 ? [{ pathname: '**', search: '' }] : undefined
  const has = (pattern: LocalPattern) => given.some(({ pathname, search }) => pathname === pattern.pathname && search === pattern.search)
  return [...given, ...BUILT.filter((pattern) => !has(pattern))]
}

/** An `assetPrefix` on another host is where imported pictures are. */
function assets({ assetPrefix, images }: NextConfig, { makeRegex }: Next): RemotePattern[] {
  if (!assetPrefix?.startsWith('http')) return []
  const { hostname, protocol, port } = new URL(assetPrefix)
  if (images?.remotePatterns?.some((pattern) => makeRegex(pattern.hostname).test(hostname))) return []
  return [{ hostname, protocol: protocol === 'http:' ? 'http' : 'https', port }]
}

/** Writes when something changed, and at once: several processes of one build read and write it. */
export function writeManifest(file: string, text: string): void {
  try {
    if (readFileSync(file, 'utf8') === text) return
  } catch {
    // There is none yet.
  }
  const draft = `${file}.${randomBytes(6).toString('hex')}`
  writeFileSync(draft, text)
  renameSync(draft, file)
}
