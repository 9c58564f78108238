// `withPixgate`: the app's images come from Pixgate, and Pixgate is told what the app allows.

import { relative, resolve, sep } from 'node:path'
import { fileURLToPath } from 'node:url'

import type { NextConfig } from 'next'

import { appsNext, manifestOf, writeManifest } from './allow-list.js'
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
type ConfigFunction = (phase: string, context: { defaultConfig: NextConfig }) => NextConfig | Promise<NextConfig>

/** The phases in which the app's directory is the developer's or the build's, and is written to. */
const WRITING = new Set(['phase-production-build', 'phase-development-server'])

/** Wraps a configuration, or a function that gives one. */
export function withPixgate(nextConfig: NextConfig | ConfigFunction = {}, options: WithPixgateOptions = {}): ConfigFunction {
  return async (phase, context) => {
    const given = typeof nextConfig === 'function' ? await nextConfig(phase, context) : nextConfig
    const { mode = 'loader', manifest = 'pixgate-manifest.json', dir = process.cwd() } = options
    const url = options.url ?? process.env.NEXT_PUBLIC_PIXGATE_URL
    if (!url && mode !== 'ingress') {
      throw new Error('withPixgate: no address of Pixgate; set NEXT_PUBLIC_PIXGATE_URL or pass { url }')
    }
    const config: NextConfig = { ...given, images: imagesOf(given.images ?? {}, mode, url ?? '', dir) }
    const qualities = config.images?.qualities ?? QUALITIES
    const env: Record<string, string> = {}
    if (mode === 'loader' && qualities.join() !== QUALITIES.join()) env.NEXT_PUBLIC_PIXGATE_QUALITIES = qualities.join()
    if (options.url) env.NEXT_PUBLIC_PIXGATE_URL = options.url
    if (Object.keys(env).length > 0) {
      config.env = { ...given.env, ...env }
      // Code that is not bundled reads them here.
      Object.assign(process.env, env)
    }
    // So that it is bundled in the Pages Router too, and its variables are written in.
    config.transpilePackages = [...new Set([...(given.transpilePackages ?? []), '@pixgate/next'])]
    if (manifest !== false && WRITING.has(phase)) {
      const text = manifestOf(config, context.defaultConfig.images ?? {}, appsNext(dir))
      writeManifest(resolve(dir, manifest), text)
    }
    return config
  }
}

function imagesOf(given: Images, mode: 'loader' | 'path' | 'ingress', url: string, dir: string): Images {
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
    images.loaderFile = given.loaderFile ?? `./${relative(dir, fileURLToPath(new URL('./loader.js', import.meta.url))).split(sep).join('/')}`
  }
  return images
}
