// `POST /placeholders`, and what comes back of it. By node:http and not by fetch: Next.js puts its own in place of the
// global fetch, which would store answers where nobody lets them expire, or make a static page a dynamic one.

import { request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'

import { signDocument } from './sign.js'
import { PixgateError, type PixgateImageDetails } from './types.js'

/** Most URLs that the service takes in one request. */
export const MAX_URLS = 100

/** A hundred answers are about a hundred kilobytes. */
const MAX_ANSWER_BYTES = 2_000_000

/** It stands in an attribute of an SVG in a style; nothing else than this may. */
const DATA_URL = /^data:image\/(?:png|jpeg|webp);base64,[A-Za-z0-9+/]+={0,2}$/

/** Clocks differ, and a request that waits for its turn is late. */
const SIGNED_SECONDS = 300

export type Answer = PixgateImageDetails | PixgateError

/** Asks for at most `MAX_URLS` pictures: an answer for each, in order. Throws when the service as a whole does not answer. */
export async function askService(base: string, urls: readonly string[], timeoutMs: number): Promise<Answer[]> {
  const document = JSON.stringify({ urls })
  const address = `${base}/placeholders`
  const signed = process.env.PIXGATE_SIGNING_KEY ? signDocument(address, document, { expires: SIGNED_SECONDS }) : address
  const text = await post(address, signed, document, timeoutMs)
  let list: unknown
  try {
    list = JSON.parse(text)
  } catch {
    list = undefined
  }
  if (!Array.isArray(list) || list.length !== urls.length) {
    throw new PixgateError('unreadable', `${base}/placeholders did not answer with a list of ${urls.length}: is this Pixgate?`)
  }
  return urls.map((src, place) => read(src, list[place]))
}

/** `signed` is the address that is asked; what is said of it leaves the signature out. */
function post(address: string, signed: string, body: string, timeoutMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const url = URL.canParse(signed) ? new URL(signed) : undefined
    if (!url || !['http:', 'https:'].includes(url.protocol)) {
      reject(new PixgateError('unconfigured', `${address} is no absolute http(s) URL; set PIXGATE_URL for the server side`))
      return
    }
    const headers = { 'content-type': 'application/json', accept: 'application/json', 'content-length': Buffer.byteLength(body) }
    const send = url.protocol === 'https:' ? requestHttps : requestHttp
    const request = send(url, { method: 'POST', headers }, (response) => {
      const status = response.statusCode ?? 0
      if (status !== 200) {
        response.resume()
        fail(new PixgateError('status', `${address} answered ${status}`, status))
        return
      }
      const chunks: Buffer[] = []
      let bytes = 0
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length
        if (bytes > MAX_ANSWER_BYTES) {
          fail(new PixgateError('unreadable', `${address} answered with more than ${MAX_ANSWER_BYTES} bytes`))
        } else {
          chunks.push(chunk)
        }
      })
      response.on('error', unreachable)
      response.on('aborted', () => unreachable(new Error('the connection was closed')))
      response.on('end', () => {
        clearTimeout(timer)
        resolve(Buffer.concat(chunks).toString('utf8'))
      })
    })
    const fail = (error: PixgateError) => {
      clearTimeout(timer)
      reject(error)
      request.destroy()
    }
    const unreachable = (error: Error) => fail(new PixgateError('unreachable', `${address} cannot be reached: ${error.message}`))
    // Over the whole exchange: a socket's own timeout starts anew with every byte.
    const timer = setTimeout(
      () => fail(new PixgateError('timeout', `${address} did not answer within ${timeoutMs} ms`)),
      timeoutMs,
    )
    request.on('error', unreachable)
    request.end(body)
  })
}

function read(src: string, value: unknown): Answer {
  const object = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>
  if (typeof object.code === 'string' && typeof object.status === 'number') {
    return new PixgateError(object.code, String(object.detail ?? object.title ?? object.code), object.status)
  }
  const { width, height, blurDataURL, blurWidth, blurHeight, blurhash, thumbhash, dominantColor, hasAlpha } = object
  const sized = isLength(width) && isLength(height) && isLength(blurWidth) && isLength(blurHeight)
  if (!sized || typeof blurDataURL !== 'string' || !DATA_URL.test(blurDataURL)) {
    return new PixgateError('unreadable', 'the service did not answer with a placeholder')
  }
  const text = (value: unknown) => (typeof value === 'string' ? value : '')
  return {
    // The text that the page asked with, so that a picture has one URL whatever the service makes of it.
    src,
    width,
    height,
    blurDataURL,
    blurWidth,
    blurHeight,
    blurhash: text(blurhash),
    thumbhash: text(thumbhash),
    dominantColor: text(dominantColor),
    hasAlpha: hasAlpha === true,
  }
}

function isLength(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value > 0
}
