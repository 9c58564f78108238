// The pictures' home: serves fixtures/images as an image host would, at /images/FILE. /images/NUMBER/FILE is the same JPEG
// with NUMBER bytes behind its end, so that a page of many pictures has as many that differ.
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { extname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const DIRECTORY = fileURLToPath(new URL('../../fixtures/images', import.meta.url))
const TYPES = { '.jpg': 'image/jpeg', '.png': 'image/png', '.webp': 'image/webp', '.avif': 'image/avif', '.gif': 'image/gif', '.svg': 'image/svg+xml' }

/** Starts it; port 0 takes a free one. `requests` lists the paths it was asked for. */
export async function startOrigin(port = 0) {
  const requests = []
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://n')
    requests.push(pathname)
    const [, number, name] = /^\/images\/(?:(\d{1,4})\/)?([\w.-]+)$/.exec(pathname) ?? []
    const type = TYPES[extname(name ?? '')]
    try {
      if (!type) throw new Error('no such picture')
      const bytes = Buffer.concat([await readFile(join(DIRECTORY, name)), Buffer.alloc(Number(number ?? 0))])
      const etag = `"${createHash('sha256').update(bytes).digest('hex').slice(0, 16)}"`
      const headers = { 'content-type': type, 'cache-control': 'public, max-age=86400', etag }
      if (request.headers['if-none-match'] === etag) response.writeHead(304, headers).end()
      else response.writeHead(200, { ...headers, 'content-length': bytes.length }).end(bytes)
    } catch {
      response.writeHead(404).end()
    }
  })
  await new Promise((done, fail) => server.once('error', fail).listen(port, '127.0.0.1', done))
  const stop = () => (server.closeAllConnections(), new Promise((done) => server.close(done)))
  return { url: `http://127.0.0.1:${server.address().port}`, requests, stop }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const { url } = await startOrigin(Number(process.env.ORIGIN_PORT ?? 4100))
  console.log(`origin: ${url}/images/lake.jpg`)
}
