// sharp as Next.js 16 uses it (optimize.mjs), behind the smallest HTTP server and without a cache:
// GET /?url=…&w=…&q=…&f=avif|webp. What it costs is fetching, sharp and nothing else.
// Usage: node sharp-server.mjs PORT
import { createServer } from 'node:http'
import { optimize } from './optimize.mjs'

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
