// A Next.js app as the comparison needs it: remote pictures from loopback, both formats, the qualities the bench asks for.
// Everything else is what Next.js does unasked.
const config = {
  images: {
    remotePatterns: [{ protocol: 'http', hostname: '127.0.0.1' }],
    dangerouslyAllowLocalIP: true,
    formats: ['image/avif', 'image/webp'],
    qualities: [50, 75, 90],
  },
  turbopack: { root: import.meta.dirname },
}

export default config
