// What Next.js's image endpoint and ours are asked, table by table of its contract. A case has a name, by which
// compare-next.improvements.json refers to it, and a request; `after` makes the request of what an earlier one answered.
import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const list = (directory) => readdirSync(fileURLToPath(new URL(`../fixtures/${directory}`, import.meta.url))).sort()
const enc = encodeURIComponent

const WEBP = 'image/webp,image/*,*/*;q=0.8'
const AVIF = 'image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8'

/** All cases, for an origin at `origin`. `other` is the same origin under a name that the allow-list does not have. */
export function cases({ origin, other, closed }) {
  const all = []
  const add = (name, path, more = {}) => all.push({ name, path, method: 'GET', headers: {}, ...more })
  const raw = (query) => `/_next/image${query}`
  const of = (url, w = 64, q = 75) => raw(`?url=${enc(url)}&w=${w}&q=${q}`)
  const at = (path) => `${origin}/images/${path}`
  const JPG = at('grad.jpg')

  // Validation, in the order in which the first failure wins.
  add('validation/url missing', raw('?w=64&q=75'))
  add('validation/nothing', raw(''))
  add('validation/url empty', raw('?url=&w=64&q=75'))
  add('validation/url twice', raw(`?url=${enc(JPG)}&url=${enc(JPG)}&w=64&q=75`))
  add('validation/url long', of(`${JPG}?${'a'.repeat(3100)}`))
  add('validation/url just long enough', of(`${JPG}?${'a'.repeat(3072 - JPG.length - 1)}`))
  add('validation/url protocol-relative', of('//a.example/a.jpg'))
  add('validation/url recursive', of('/_next/image?url=%2Fa.jpg&w=64&q=75'))
  add('validation/url recursive behind a prefix', of('/assets/_next/image'))
  add('validation/url recursive encoded', of('/%5fnext/image'))
  add('validation/url like recursive', of('/_next/imagefoo'))
  add('validation/local query', of('/grad.jpg?v=1'))
  add('validation/url no URL', of('a.jpg'))
  add('validation/url ftp', of('ftp://127.0.0.1/images/a.jpg'))
  add('validation/url data', of('data:image/png;base64,AAAA'))
  add('validation/host not listed', of('https://a.example/a.jpg'))
  add('validation/path not listed', of(`${origin}/private/a.jpg`))
  add('validation/path climbs out', of(`${origin}/images/../private/a.jpg`))
  add('validation/path climbs out, encoded', of(`${origin}/images/%2e%2e/private/a.jpg`))
  add('validation/scheme in capitals', of(JPG.replace('http:', 'HTTP:')))
  add('validation/w missing', raw(`?url=${enc(JPG)}&q=75`))
  add('validation/w empty', raw(`?url=${enc(JPG)}&w=&q=75`))
  add('validation/w twice', raw(`?url=${enc(JPG)}&w=64&w=64&q=75`))
  for (const w of ['-1', '+1', '1.5', 'abc', ' 1', '1e2', '0x40', '64px', '0', '00', '1000', '65', '0064', '99999999999999999999']) add(`validation/w ${w}`, raw(`?url=${enc(JPG)}&w=${enc(w)}&q=75`))
  add('validation/q missing', raw(`?url=${enc(JPG)}&w=64`))
  add('validation/q empty', raw(`?url=${enc(JPG)}&w=64&q=`))
  add('validation/q twice', raw(`?url=${enc(JPG)}&w=64&q=75&q=75`))
  for (const q of ['-1', '7.5', 'abc', '0', '101', '80', '075', '99999999999999999999']) add(`validation/q ${q}`, raw(`?url=${enc(JPG)}&w=64&q=${enc(q)}`))
  add('validation/w not listed and q missing', raw(`?url=${enc(JPG)}&w=1000`))
  add('validation/everything wrong', raw('?url=//x&w=a&q=b'))
  add('validation/unknown parameters', `${of(JPG)}&x=1&dpl=abc&utm_source=y`)
  add('validation/parameters in other order', raw(`?q=75&w=64&url=${enc(JPG)}`))
  add('validation/url not encoded', raw(`?url=${JPG}&w=64&q=75`))
  add('validation/plus in url', raw(`?url=${enc(at('named/a'))}+b.jpg&w=64&q=75`))
  add('rough/malformed escape in url', raw('?url=%2F%25zz%2Fa.jpg&w=64&q=75'))
  add('rough/malformed escape in query', raw('?url=%zz&w=64&q=75'))
  add('rough/backslash', of('/\\a.example/x.jpg'))
  add('rough/credentials', of(JPG.replace('http://', 'http://user:pw@')))
  add('rough/fragment', of(`${JPG}#top`))

  // The endpoint itself.
  add('endpoint/slash at the end', `/_next/image/?url=${enc(JPG)}&w=64&q=75`)
  for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
    add(`endpoint/${method} of a remote picture`, of(at('methods.jpg')), { method })
    add(`endpoint/${method} of a local picture`, of('/grad.jpg', 48), { method })
  }
  add('endpoint/HEAD', of(at('head.jpg')), { method: 'HEAD' })
  add('endpoint/HEAD after GET', of(at('head2.jpg')), { method: 'HEAD', first: { path: of(at('head2.jpg')) } })
  add('endpoint/HEAD of an error', of('//x'), { method: 'HEAD' })
  add('endpoint/range', of(at('range.jpg')), { headers: { range: 'bytes=0-9' } })

  // After validation.
  for (const name of ['pdf', 'text', 'html', 'psd', 'smuggled', 'short']) add(`errors/not a picture: ${name}`, of(at(`bytes/${name}`)))
  add('errors/svg', of(at('plain.svg')))
  add('errors/svg labelled png', of(at('bytes/svg-as-png')))
  add('errors/png labelled html', of(at('bytes/png-as-html')), { headers: { accept: WEBP } })
  add('errors/empty', of(at('bytes/empty')))
  add('errors/too large', of(at('large/50000001')))
  for (const status of [204, 304, 399, 400, 401, 403, 404, 410, 418, 429, 451, 500, 502, 503, 504]) add(`errors/origin says ${status}`, of(at(`status/${status}`)))
  add('errors/redirect to nowhere', of(at('status/301')))
  for (const hops of [1, 3, 4]) add(`errors/${hops} redirects`, of(at(`redirect/${hops}`)), { headers: { accept: WEBP } })
  for (const status of [301, 302, 303, 307, 308]) add(`errors/redirect by ${status}`, of(at(`redirect/1?status=${status}`)), { headers: { accept: WEBP } })
  add('errors/redirect off the list', of(at(`to?${enc(`${other}/images/grad.jpg`)}`)))
  add('errors/redirect off the path', of(at(`to?${enc(`${origin}/private/a.jpg`)}`)))
  add('errors/redirect to file', of(at(`to?${enc('file:///etc/hostname')}`)))
  add('errors/refused', of(`${closed}/images/a.jpg`))
  add('errors/late', of(at('late')))
  add('errors/never ends', of(at('drip')))
  add('errors/cut off', of(at('cut')))
  add('errors/local missing', of('/missing.jpg'))
  add('errors/local svg', of('/plain.svg'))
  add('errors/local page', of('/'))
  add('errors/encodings', of(at('gzip')), { headers: { accept: WEBP } })
  add('errors/many encodings', of(at('encodings')))

  // Headers of a 200.
  const named = { 'plain.jpg': 1, 'file.name.dots.jpg': 1, noextension: 1, '.hidden.jpg': 1, 'a%20b.jpg': 1, 'caf%C3%A9.jpg': 1, '': 1, 'quote%22.jpg': 1, 'semi;colon.jpg': 1, "single'quote.jpg": 1, 'percent%2525.jpg': 1, 'x.jpg?name=y.jpg': 1 }
  for (const name of Object.keys(named)) add(`names/${name || 'none'}`, of(at(`named/${name}`)))
  add('headers/first', of(at('named/first.jpg')), { headers: { accept: WEBP } })
  add('headers/second', of(at('named/second.jpg')), { headers: { accept: WEBP }, first: { path: of(at('named/second.jpg')), headers: { accept: WEBP } } })
  add('headers/local', of('/grad.jpg'), { headers: { accept: WEBP } })
  add('headers/from an app and a CDN', of(at('named/app.jpg')), { headers: { accept: WEBP, origin: 'https://shop.example', cookie: 'a=1' } })
  for (const [name, value] of Object.entries({
    long: 'public, max-age=31536000', short: 'public, max-age=60', shared: 'public, max-age=60, s-maxage=31536000', quoted: 'max-age="31536000"', capitals: 'Public, Max-Age=31536000', immutable: 'public, max-age=31536000, immutable',
    'no-store': 'no-store', private: 'private, max-age=31536000', 'no-cache': 'no-cache', zero: 'max-age=0', negative: 'max-age=-5', garbage: 'max-age=soon', none: '',
  })) add(`lifetime/${name}`, of(at(`control/${enc(value)}`)), { headers: { accept: WEBP } })

  // Conditional requests: of the first answer's entity tag.
  const conditions = {
    'as it came': (tag) => ({ 'if-none-match': tag }),
    bare: (tag) => ({ 'if-none-match': tag.replaceAll('"', '') }),
    quoted: (tag) => ({ 'if-none-match': `"${tag.replaceAll('"', '')}"` }),
    weak: (tag) => ({ 'if-none-match': `W/${tag}` }),
    'one of several': (tag) => ({ 'if-none-match': `"a", ${tag}, "b"` }),
    star: () => ({ 'if-none-match': '*' }),
    other: () => ({ 'if-none-match': '"other"' }),
    empty: () => ({ 'if-none-match': '' }),
    'with no-cache': (tag) => ({ 'if-none-match': tag, 'cache-control': 'no-cache' }),
    'with max-age=0': (tag) => ({ 'if-none-match': tag, 'cache-control': 'max-age=0' }),
    'by date': () => ({ 'if-modified-since': 'Tue, 01 Jan 2030 00:00:00 GMT' }),
  }
  for (const [name, headers] of Object.entries(conditions)) {
    const path = of(at(`named/conditional-${enc(name)}.jpg`))
    add(`conditional/${name}`, path, { headers: { accept: WEBP }, first: { path, headers: { accept: WEBP } }, after: (first) => headers(first.headers.etag ?? '') })
  }
  const cold = of(at('named/cold.jpg'))
  add('conditional/cold', cold, { headers: { accept: WEBP, 'if-none-match': '*' } })

  // The type that Accept yields.
  const accepts = ['', '*/*', 'image/*', 'image/webp', 'IMAGE/WEBP', 'image/avif', 'image/webp,image/avif', 'image/avif,image/webp', 'image/avif;q=0.5, image/webp;q=0.9', 'image/avif;q=0,image/webp', 'image/webp;q=0', 'image/avif;q=0.9,image/webp;q=0.9', 'image/jpeg', 'image/png,image/webp', 'nonsense', ',,,', 'image/webp;level=1', 'text/html', 'image/webp ; q = 0.5', 'image/avif;q=2', 'image/webp, */*;q=0.1', AVIF]
  for (const accept of accepts) {
    for (const file of ['grad.jpg', 'rgb.png', 'lossy.webp', 'opaque.avif']) add(`accept/${accept || 'none'} of ${file}`, of(at(file)), accept ? { headers: { accept } } : {})
  }

  // Every type of source, for a client of each kind; then files that a stranger may send.
  for (const file of list('images')) {
    for (const [client, accept] of [['avif', AVIF], ['webp', WEBP], ['old', 'image/png,image/*;q=0.8']]) add(`types/${file} for ${client}`, of(at(file)), { headers: { accept } })
  }
  for (const file of ['animated.gif', 'animated.webp', 'animated.apng.png']) {
    for (const [client, accept] of [['avif', AVIF], ['webp', WEBP], ['old', 'image/png,image/*;q=0.8']]) add(`animated/${file} for ${client}`, of(at(file), 32), { headers: { accept } })
  }
  for (const w of [16, 32, 48, 64, 96, 128, 256, 384, 640, 750, 828, 1080, 1200, 1920, 2048, 3840]) add(`widths/${w}`, of(at('coffee.jpg'), w), { headers: { accept: WEBP } })
  for (const w of [1920, 3840]) add(`widths/${w} of a wide one`, of(at('lake.jpg'), w), { headers: { accept: 'image/jpeg' } })
  for (const q of [50, 75, 90]) add(`qualities/${q}`, of(at('coffee.jpg'), 256, q), { headers: { accept: WEBP } })
  for (const file of list('hostile')) {
    for (const [client, accept] of [['webp', WEBP], ['old', 'image/png,image/*;q=0.8']]) add(`hostile/${file} for ${client}`, of(at(`hostile/${file}`)), { headers: { accept } })
  }
  // Two requests that Next.js keeps under one key: the second must not be answered with the first.
  const collide = { first: { path: of(at('named/collide.jpg?v='), 2048), headers: { accept: WEBP } } }
  add('key/url and width run together', of(at('named/collide.jpg?v=20'), 48), { headers: { accept: WEBP }, ...collide })
  return all
}
