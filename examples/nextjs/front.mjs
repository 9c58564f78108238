// One address for all: the builds of the example on their routes, and the ingress rules, as small as they get: what the app
// at /ingress asks of its /_next/image and the one at /own of its /image goes to Pixgate, and the apps know nothing of it.
import { createServer, request as forward } from 'node:http'

/** Starts it; port 0 takes a free one. `apps` has the address of each build by its mode; `next` has what is left over. */
export async function startFront({ apps, pixgate, port = 0 }) {
  const target = (path) => {
    const image = /^\/(?:ingress(?=\/_next)|own(?=\/image))(\/(?:_next\/)?image\/?(?:\?.*)?)$/.exec(path)
    if (image) return [pixgate, image[1]]
    const mode = /^\/(ingress|path|loader|own)(?=[/?]|$)/.exec(path)?.[1] ?? 'next'
    return [apps[mode], path]
  }
  const server = createServer((request, response) => {
    const [to, path] = target(request.url)
    if (!to) return void response.writeHead(404).end()
    const { hostname, port } = new URL(to)
    const onward = forward({ hostname, port, method: request.method, path, headers: request.headers }, (answer) => {
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
