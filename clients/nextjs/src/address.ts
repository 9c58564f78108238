// Whether an address can be that of the service, and whether the service is there. For configurations: what a build writes
// into its pages cannot be mended after it.

import { get as getHttp } from 'node:http'
import { get as getHttps } from 'node:https'

import { trimBase } from './url.js'

const TIMEOUT_MS = 5000

/** Said by `/readyz`, with 200 or, while it is about to stop, 503. */
const STATES = ['ready', 'degraded', 'draining']

/** Why a text cannot be the address of the service as browsers see it; undefined when it can. */
export function wrongAddress(url: string): string | undefined {
  if (/[\s"'<>\\^`{|}]/.test(url)) return 'which has a character that no URL has (a quote or a space?)'
  const isPath = url.startsWith('/') && !url.startsWith('//')
  if (!isPath && !/^https?:\/\//i.test(url)) {
    const scheme = /^(localhost|127\.|\[|[^/]*:\d)/.test(url) ? 'http' : 'https'
    const hint = /^[a-z][a-z+.-]*:\/\//i.test(url) ? '' : `. Is it ${scheme}://${url.replace(/^\/+/, '')}?`
    return `which is neither a URL of http or https nor a path like /${hint}`
  }
  if (/[?#]/.test(url)) return 'which has a query or a fragment; /image is hung on it'
  const end = /(?:\/_next)?\/image$/.exec(trimBase(url))?.[0]
  if (end) return `which ends in ${end}. That is added to it: leave it out`
  if (isPath) return undefined
  if (!URL.canParse(url)) return 'which is no URL'
  const { username, password } = new URL(url)
  return username || password ? 'which has a user name or password, and every page would tell it' : undefined
}

/** The address that this process can ask, with the name of what says so: none when only a path is known. */
export function serverSide(url: string, name: string): { url: string; name: string } | undefined {
  if (!url.startsWith('/')) return { url: trimBase(url), name }
  const own = process.env.PIXGATE_URL
  return own ? { url: trimBase(own), name: 'PIXGATE_URL' } : undefined
}

/** Asks `/readyz`: why what is there is not Pixgate; undefined when it is. */
export async function wrongService(base: string): Promise<string | undefined> {
  const address = `${base}/readyz`
  if (!URL.canParse(address) || !/^https?:/i.test(address)) return 'this is no URL of http or https'
  const answer = await ask(address)
  if (typeof answer === 'string') return answer
  const { status, location, body } = answer
  if (status >= 300 && status < 400) return `${address} is redirected to ${location ?? 'nowhere'}`
  if (STATES.includes(stateOf(body) ?? '')) return undefined
  return `what answers ${address} (status ${status}) is not Pixgate`
}

interface Answer {
  status: number
  location: string | undefined
  body: string
}

function ask(address: string): Promise<Answer | string> {
  return new Promise((resolve) => {
    const get = /^https:/i.test(address) ? getHttps : getHttp
    const request = get(address, { headers: { accept: 'application/json' }, agent: false }, (response) => {
      let body = ''
      response.setEncoding('utf8')
      // Pixgate says it in less; whoever says more is not it.
      response.on('data', (text: string) => (body = (body + text).slice(0, 10_000)))
      response.on('error', (error) => done(`${address} cannot be read: ${error.message}`))
      response.on('end', () => done({ status: response.statusCode ?? 0, location: response.headers.location, body }))
    })
    const done = (answer: Answer | string) => {
      clearTimeout(timer)
      resolve(answer)
      request.destroy()
    }
    const timer = setTimeout(() => done(`${address} did not answer within ${TIMEOUT_MS} ms`), TIMEOUT_MS)
    // Node.js tries several addresses of a name, and then has several reasons and no text.
    request.on('error', (error: Error & { code?: string }) => done(`${address} cannot be reached: ${error.message || error.code}`))
  })
}

function stateOf(body: string): string | undefined {
  try {
    return (JSON.parse(body) as { status?: string } | null)?.status
  } catch {
    return undefined
  }
}
