// The ingress rule, as small as it gets: /_next/image goes to Pixgate, everything else to the app, which knows nothing of it.
import { createServer, request as forward } from 'node:http'
import { pathToFileURL } from 'node:url'

/** Starts it; port 0 takes a free one. */
export async function startProxy({ app, pixgate, port = 0 }) {
  const server = createServer((request, response) => {
    const target = new URL(/^\/_next\/image\/?(?:\?|$)/.test(request.url) ? pixgate : app)
    const { method, headers, url: path } = request
    const onward = forward({ hostname: target.hostname, port: target.port, method, path, headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers)
      answer.pipe(response)
    })
    onward.on('error', () => (response.headersSent ? response.destroy() : response.writeHead(502).end()))
    response.on('close', () => onward.destroy())
    request.pipe(onward)
  })
  await new Promise((done, fail) => server.once('error', fail).listen(port, '127.0.0.1', done))
  const stop = () => (server.closeAllConnections(), new Promise((done) => server.close(done)))
  return { url: `http://127.0.0.1:${server.address().port}`, stop }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const { APP_URL: app = 'http://127.0.0.1:3000', PIXGATE_URL: pixgate = 'http://127.0.0.1:8080' } = process.env
  const { url } = await startProxy({ app, pixgate, port: Number(process.env.PORT ?? 8000) })
  console.log(`proxy: ${url}: /_next/image from ${pixgate}, the rest from ${app}`)
}
