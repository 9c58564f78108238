// The app that is built with each version of Next.js; its addresses are the test's.
import { withPixgate } from '@pixgate/next/config'

const { hostname, port } = new URL(process.env.ORIGIN_URL)

/** @type {import('next').NextConfig} */
const nextConfig = {
  env: { ORIGIN_URL: process.env.ORIGIN_URL },
  images: {
    remotePatterns: [
      { protocol: 'http', hostname, port, pathname: '/images/**' },
      { protocol: 'https', hostname: '**.example.com' },
      { hostname: 'media-{a,b}.example.org', pathname: '/photos/*/[0-9]*' },
    ],
    domains: [],
  },
}

export default withPixgate(nextConfig)
