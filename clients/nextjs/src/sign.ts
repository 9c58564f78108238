// Signed URLs, for services that are set to `signing.required`, or for sizes that are in no list. Server side only: whoever
// has the key can sign anything, so it must never be part of what browsers get.

import { createHash, createHmac } from 'node:crypto'

import { PixgateError } from './types.js'

/** How a URL is signed. */
export interface SignOptions {
  /** `SECRET` of `images.signing_keys`, or `NAME=SECRET` of `signing.keys`; without it `PIXGATE_SIGNING_KEY`. */
  key?: string
  /** Until when the URL is good: a time, or seconds from now. Without it the URL is good for as long as the key. */
  expires?: Date | number
}

interface Key {
  name: string | undefined
  secret: string
}

/**
 * Signs a URL of the service, absolute or a path: `/image`, `/placeholder` or `/_next/image` with its parameters. The
 * path must be the one that the service sees.
 */
export function signUrl(url: string, options: SignOptions = {}): string {
  const key = readKey(options.key ?? process.env.PIXGATE_SIGNING_KEY)
  if (key === undefined) {
    throw new PixgateError('unconfigured', 'there is no key to sign with: give `key`, or set PIXGATE_SIGNING_KEY on the server side')
  }
  const [whole, origin, path, query] = /^([a-z][a-z0-9+.-]*:\/\/[^/?#]*)?([^?#]*)(?:\?([^#]*))?/i.exec(url) ?? [url, '', url, '']
  const given = (query ?? '').split('&').filter((pair) => pair !== '' && !/^(?:s|e|kid)=/.test(pair))
  if (options.expires !== undefined) given.push(`e=${seconds(options.expires)}`)
  if (key.name !== undefined) given.push(`kid=${key.name}`)
  const message = `${path || '/'}?${[...given].sort(byOctets).join('&')}`
  const signature = createHmac('sha256', key.secret).update(message).digest('base64url')
  return `${origin ?? ''}${path || '/'}?${[...given, `s=${signature}`].join('&')}${url.slice(whole.length)}`
}

/** Signs the URL of a request whose document this is. */
export function signDocument(url: string, document: string, options: SignOptions = {}): string {
  const digest = createHash('sha256').update(document).digest('hex')
  return signUrl(`${url}${url.includes('?') ? '&' : '?'}b=${digest}`, options)
}

/** Shortest secret that the service takes. */
const SHORTEST = 16

/** What comes before the first `=` is a name where a secret comes after it: base64 ends in one or two of them. */
function readKey(text: string | undefined): Key | undefined {
  if (text === undefined || text === '') return undefined
  const named = /^([A-Za-z0-9._-]{1,32})=(.+)$/s.exec(text)
  return named && (named[2] ?? '').length >= SHORTEST ? { name: named[1], secret: named[2] ?? '' } : { name: undefined, secret: text }
}

function seconds(expires: Date | number): number {
  const at = expires instanceof Date ? expires.getTime() / 1000 : Date.now() / 1000 + expires
  if (!Number.isFinite(at)) throw new PixgateError('invalid', 'expires must be a valid date, or a number of seconds from now')
  return Math.floor(at)
}

/** The order that the service sorts in; JavaScript's own is by UTF-16 units. */
function byOctets(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}
