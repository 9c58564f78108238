// What Next.js's own loader does in `next dev`: a picture that the service will refuse is an error that says why, and not
// an icon. The patterns are those that the service has from the manifest, as `withPixgate` wrote them into the bundle.

import type { Allowed } from './allow-list.js'

let known: { text: string; allowed: Allowed } | undefined

/** Throws Next.js's text when the configuration does not allow a picture. `text` is an `Allowed` as JSON. */
export function assertAllowed(src: string, text: string | undefined): void {
  if (!text) return
  if (known?.text !== text) known = { text, allowed: JSON.parse(text) as Allowed }
  const { allowed } = known
  if (src.startsWith('/') && !src.startsWith('//')) {
    if (isLocal(allowed, src)) return
    throw new Error(
      `Invalid src prop (${src}) on \`next/image\` does not match \`images.localPatterns\` configured in your \`next.config.js\`\n` +
        'See more info: https://nextjs.org/docs/messages/next-image-unconfigured-localpatterns',
    )
  }
  if (!URL.canParse(src)) {
    throw new Error(
      `Failed to parse src "${src}" on \`next/image\`, if using relative image it must start with a leading slash "/" or be an absolute URL (http:// or https://)`,
    )
  }
  const url = new URL(src)
  if (isRemote(allowed, url)) return
  throw new Error(
    `Invalid src prop (${src}) on \`next/image\`, hostname "${url.hostname}" is not configured under images in your \`next.config.js\`\n` +
      'See more info: https://nextjs.org/docs/messages/next-image-unconfigured-host',
  )
}

function isLocal({ localPatterns }: Allowed, src: string): boolean {
  if (!localPatterns) return true
  const { pathname, search } = new URL(src, 'http://n')
  return localPatterns.some((pattern) => matches(pattern.pathname, pathname) && (pattern.search ?? search) === search)
}

function isRemote({ domains, remotePatterns }: Allowed, { protocol, hostname, port, pathname, search }: URL): boolean {
  return (
    domains.includes(hostname) ||
    remotePatterns.some(
      (pattern) =>
        (pattern.protocol === undefined || `${pattern.protocol}:` === protocol) &&
        (pattern.port ?? port) === port &&
        matches(pattern.hostname, hostname) &&
        (pattern.search ?? search) === search &&
        matches(pattern.pathname, pathname),
    )
  )
}

function matches(source: string, text: string): boolean {
  return new RegExp(source).test(text)
}
