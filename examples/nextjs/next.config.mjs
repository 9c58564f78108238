// One app, built once for each way there is to Pixgate; an app of yours has one. EXAMPLE_MODE says which:
//   next     Next.js's own optimizer, to compare with
//   ingress  the same, behind a rule that sends its /_next/image to Pixgate (front.mjs)
//   path     Next.js's own loader, asking Pixgate's /_next/image
//   loader   Pixgate's loader, asking /image, with placeholders
//   own      the same on the app's own host, behind a rule that sends its /image to Pixgate (front.mjs)
// Each but the first is on a route of its own, /ingress, /path, /loader and /own, so that one address has them all.
import { withPixgate } from '@pixgate/next/config'

const mode = process.env.EXAMPLE_MODE ?? 'loader'
const basePath = mode === 'next' ? '' : `/${mode}`

/** @type {import('next').NextConfig} */
const nextConfig = {
  distDir: `.next-${mode}`,
  basePath,
  env: { EXAMPLE_MODE: mode, EXAMPLE_BASE: basePath },
  images: {
    formats: ['image/avif', 'image/webp'],
    qualities: (process.env.EXAMPLE_QUALITIES ?? '50,75,90').split(',').map(Number),
    remotePatterns: [{ protocol: 'http', hostname: '127.0.0.1', pathname: '/images/**' }],
    // The pictures' host is this machine. Yours is not: leave this out.
    dangerouslyAllowLocalIP: true,
  },
}

const options = mode === 'own' ? { url: basePath } : { mode }

export default mode === 'next' ? nextConfig : withPixgate(nextConfig, { ...options, manifest: `pixgate-manifest-${mode}.json` })
