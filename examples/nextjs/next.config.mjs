import { withPixgate } from '@pixgate/next/config'

// One app, built three ways; an app of yours has one. EXAMPLE_MODE says which:
//   next    Next.js's own optimizer. With proxy.mjs in front, the same build is the one behind an ingress rule.
//   path    Next.js's own loader, asking Pixgate's /_next/image
//   loader  Pixgate's loader, asking /image, with placeholders
const mode = process.env.EXAMPLE_MODE ?? 'loader'

/** @type {import('next').NextConfig} */
const nextConfig = {
  distDir: `.next-${mode}`,
  env: { EXAMPLE_MODE: mode },
  images: {
    formats: ['image/avif', 'image/webp'],
    qualities: [50, 75, 90],
    remotePatterns: [{ protocol: 'http', hostname: '127.0.0.1', pathname: '/images/**' }],
    // The pictures' host is this machine. Yours is not: leave this out.
    dangerouslyAllowLocalIP: true,
  },
}

export default mode === 'next' ? nextConfig : withPixgate(nextConfig, { mode, manifest: `pixgate-manifest-${mode}.json` })
