// A stand-in for the service: what it answers is the test's to say, what it was asked is the test's to count.
import { createServer } from 'node:http'

export const PIXEL = 'data:image/png;base64,iVBORw0KGgo='

/** The document that the service answers with for one picture. */
export function placeholder(src, more = {}) {
  return {
    src, width: 2048, height: 1365, blurDataURL: PIXEL, blurWidth: 8, blurHeight: 5,
    blurhash: 'L6PZfSi_.AyE', thumbhash: '1QcSHQRnh493', dominantColor: '#8a6f4d', hasAlpha: false, format: 'jpeg', bytes: 472985, ...more,
  }
}

export function problem(src, status, code) {
  return { src, type: 'about:blank', title: 'Error', status, detail: `no: ${code}`, code }
}

/** Starts it. `answer(urls, response)` returns the document, or takes the response itself and returns nothing. */
export async function start(t, answer = (urls) => urls.map((url) => placeholder(url))) {
  const service = { asked: [], answer, at: '' }
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const piece of request) body += piece
    const { urls } = JSON.parse(body)
    service.asked.push(urls)
    service.last = { method: request.method, path: request.url, type: request.headers['content-type'] }
    const document = await service.answer(urls, response)
    if (document !== undefined) response.setHeader('content-type', 'application/json').end(JSON.stringify(document))
  })
  await new Promise((done) => server.listen(0, '127.0.0.1', done))
  service.at = `http://127.0.0.1:${server.address().port}`
  service.stop = () => {
    server.closeAllConnections()
    return new Promise((done) => server.close(done))
  }
  t.after(() => service.stop())
  return service
}
