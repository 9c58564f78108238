// sharp as Next.js 16 uses it (next/dist/server/image-optimizer/transform.js), behind the smallest HTTP server and without
// a cache: GET /?url=…&w=…&q=…&f=avif|webp. What it costs is fetching, sharp and nothing else.
// Usage: node sharp-server.mjs PORT
import { createServer } from 'node:http'
import sharp from 'sharp'

// Next.js blocks every loader but these, and halves the threads of one picture in production.
const loaders = ['Heif', 'Jpeg', 'Nsgif', 'Png', 'Svg', 'Tiff', 'Webp'].map((name) => `VipsForeignLoad${name}`)
sharp.block({ operation: ['VipsForeignLoad'] })
sharp.unblock({ operation: loaders })
if (sharp.concurrency() > 1) sharp.concurrency(Math.floor(Math.max(sharp.concurrency() / 2, 1)))

async function optimize(buffer, width, quality, format) {
  const transformer = sharp(buffer, { limitInputPixels: 268402689, sequentialRead: undefined })
    .timeout({ seconds: 7 })
    .rotate()
    .resize(width, undefined, { withoutEnlargement: true })
  if (format === 'avif') transformer.avif({ quality: Math.max(Math.round(quality * (50 / 80)), 1), effort: 3 })
  else transformer.webp({ quality })
  return transformer.toBuffer()
}

const server = createServer(async (request, response) => {
  try {
    const query = new URL(request.url, 'http://sharp').searchParams
    const upstream = await fetch(query.get('url'))
    if (!upstream.ok) throw new Error(`the origin answered ${upstream.status}`)
    const source = Buffer.from(await upstream.arrayBuffer())
    const format = query.get('f')
    const bytes = await optimize(source, Number(query.get('w')), Number(query.get('q')), format)
    response.writeHead(200, { 'Content-Type': `image/${format}`, 'Content-Length': bytes.length }).end(bytes)
  } catch (error) {
    response.writeHead(500, { 'Content-Type': 'text/plain' }).end(String(error))
  }
})
server.listen(Number(process.argv[2]), '127.0.0.1')
