// `withPixgate`: the app's images come from Pixgate, and Pixgate is told what the app allows.

import { relative, resolve, sep } from 'node:path'

import type { NextConfig } from 'next'

import { serverSide, wrongAddress, wrongService } from './address.js'
import { allowedOf, appsNext, manifestOf, writeManifest } from './allow-list.js'
import { QUALITIES, trimBase } from './url.js'

export interface WithPixgateOptions {
  /** Address of the service as browsers see it. Default: `NEXT_PUBLIC_PIXGATE_URL`. */
  url?: string
  /**
   * `loader` (default): pictures are asked for at `/image`, by `@pixgate/next/loader` or your `images.loaderFile`.
   * `path`: Next.js's own loader, with `images.path` on the service. `ingress`: nothing is asked for elsewhere, for apps
   * whose `/_next/image` is routed to the service.
   */
  mode?: 'loader' | 'path' | 'ingress'
  /** Where the service's allow-list is written, relative to the app; `false` for nowhere. Default: `pixgate-manifest.json`. */
  manifest?: string | false
  /** The app's directory. Default: where the process runs. */
  dir?: string
}

type Images = NonNullable<NextConfig['images']>
type Mode = NonNullable<WithPixgateOptions['mode']>
type Rewrites = NonNullable<NextConfig['rewrites']>
export type ConfigFunction = (phase: string, context: { defaultConfig: NextConfig }) => NextConfig | Promise<NextConfig>

const [BUILD, DEVELOPMENT] = ['phase-production-build', 'phase-development-server']

/** Where `pixgate dev` listens. */
const DEVELOPMENT_SERVICE = 'http://localhost:8080'

/** Set in a build for the processes that it starts, so that the service is asked once. */
const ASKED = 'PIXGATE_NEXT_ASKED'

/** `withPixgate` for a loader that is at `loaderFile`. */
export function withLoader(loaderFile: string) {
  /** Wraps a configuration, or a function that gives one. */
  return function withPixgate(nextConfig: NextConfig | ConfigFunction = {}, options: WithPixgateOptions = {}): ConfigFunction {
    return async (phase, context) => {
      const given = typeof nextConfig === 'function' ? await nextConfig(phase, context) : nextConfig
      const { mode = 'loader', manifest = 'pixgate-manifest.json', dir = process.cwd() } = options
      const url = addressOf(options, mode, phase)
      const config: NextConfig = { ...given, images: imagesOf(given.images ?? {}, mode, url, dir, loaderFile) }
      const env: Record<string, string> = {}
      const qualities = config.images?.qualities ?? QUALITIES
      if (mode === 'loader' && qualities.join() !== QUALITIES.join()) env.NEXT_PUBLIC_PIXGATE_QUALITIES = qualities.join()
      if (options.url) env.NEXT_PUBLIC_PIXGATE_URL = options.url
      // Without an address, Next.js's own optimizer answers there.
      if (phase === DEVELOPMENT && (url.startsWith('/') || (mode === 'ingress' && process.env.PIXGATE_URL))) {
        const service = trimBase(process.env.PIXGATE_URL || DEVELOPMENT_SERVICE)
        env.PIXGATE_URL = service
        config.rewrites = routed(given.rewrites, mode === 'ingress' ? (given.basePath ?? '') : trimBase(url), service, mode)
      }
      // In the app's directory only while it is the developer's or the build's.
      if (phase === BUILD || phase === DEVELOPMENT) {
        const next = appsNext(dir)
        const defaults = context.defaultConfig.images ?? {}
        if (manifest !== false) writeManifest(resolve(dir, manifest), manifestOf(config, defaults, next))
        if (phase === DEVELOPMENT && mode === 'loader') env.NEXT_PUBLIC_PIXGATE_ALLOWED = JSON.stringify(allowedOf(config, defaults, next))
      }
      if (Object.keys(env).length > 0) {
        config.env = { ...given.env, ...env }
        // Code that is not bundled reads them here.
        Object.assign(process.env, env)
      }
      // So that it is bundled in the Pages Router too, and its variables are written in.
      config.transpilePackages = [...new Set([...(given.transpilePackages ?? []), '@pixgate/next'])]
      // Last, so that the manifest is there for a service that is yet to be started.
      if (phase === BUILD && mode !== 'ingress') await askOnce(url, nameOf(options), manifest)
      return config
    }
  }
}

function addressOf(options: WithPixgateOptions, mode: Mode, phase: string): string {
  const url = options.url ?? process.env.NEXT_PUBLIC_PIXGATE_URL
  // A build has the loader's address in it; where it runs, the variable need not be.
  if (mode === 'ingress' || (mode === 'loader' && !url && phase !== BUILD && phase !== DEVELOPMENT)) return ''
  if (!url) throw new Error('withPixgate: no address of Pixgate; set NEXT_PUBLIC_PIXGATE_URL or pass { url }')
  const wrong = wrongAddress(url)
  if (wrong) throw new Error(`withPixgate: ${nameOf(options)} is ${JSON.stringify(url)}, ${wrong}`)
  return url
}

/** What says where the service is. */
function nameOf({ url }: WithPixgateOptions): string {
  return url === undefined ? 'NEXT_PUBLIC_PIXGATE_URL' : 'the option url'
}

function imagesOf(given: Images, mode: Mode, url: string, dir: string, loaderFile: string): Images {
  const images: Images = {
    // What the service takes where nothing is configured; without a list, Next.js asks for 75 alone or for anything.
    qualities: [...QUALITIES],
    formats: ['image/avif', 'image/webp'],
    ...given,
  }
  if (mode === 'path') {
    images.path = given.path ?? `${trimBase(url)}/_next/image`
  } else if (mode === 'loader') {
    images.loader = 'custom'
    // Next.js hangs it on the app's directory and takes no other form.
    images.loaderFile = given.loaderFile ?? `./${relative(dir, loaderFile).split(sep).join('/')}`
  }
  return images
}

/** The app's rewrites with one before them, which is what an ingress rule is where the app runs for all. */
function routed(given: NextConfig['rewrites'], base: string, service: string, mode: Mode): Rewrites {
  const path = mode === 'loader' ? '/image' : '/_next/image'
  const rule = { source: `${base}${path}`, destination: `${service}${path}`, basePath: false as const }
  return async () => {
    const own = (await given?.()) ?? []
    const { beforeFiles = [], afterFiles = [], fallback = [] } = Array.isArray(own) ? { afterFiles: own } : own
    return { beforeFiles: [rule, ...beforeFiles], afterFiles, fallback }
  }
}

/** One question to the service, in the first process of a build. */
async function askOnce(url: string, name: string, manifest: string | false): Promise<void> {
  const asked = serverSide(url, name)
  if (!asked || process.env.SKIP_PIXGATE_CHECK === '1' || process.env[ASKED] === asked.url) return
  const wrong = await wrongService(asked.url)
  if (wrong) {
    const start = manifest === false ? 'pixgate serve' : `pixgate serve --next-manifest ${manifest} --base-url http://localhost:3000`
    throw new Error(
      `withPixgate: no Pixgate at ${asked.url} (${asked.name}): ${wrong}\n` +
        'Every image of this build would be broken. Start it, for example here by\n' +
        `  ${start}\n` +
        'or correct the address. Where Pixgate is started later, or cannot be reached from where the app is built, build with SKIP_PIXGATE_CHECK=1.',
    )
  }
  process.env[ASKED] = asked.url
}
