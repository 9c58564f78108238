import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'node:test'
import { execFileSync } from 'node:child_process'
import { createServer } from 'node:http'
import { once } from 'node:events'

import { withPixgate } from '@pixgate/next/config'

const require = createRequire(import.meta.url)
const { imageConfigDefault } = require('next/dist/shared/lib/image-config.js')
const CONTEXT = { defaultConfig: { images: imageConfigDefault } }
const [BUILD, DEV, START] = ['phase-production-build', 'phase-development-server', 'phase-production-server']
const URL_ = 'https://img.example.com'
// Nothing is there; the tests that are about this take it away.
process.env.SKIP_PIXGATE_CHECK = '1'

/** A directory with the installed Next.js in it. */
function app(t) {
  const dir = mkdtempSync(join(tmpdir(), 'pixgate-next-'))
  symlinkSync(fileURLToPath(new URL('../node_modules', import.meta.url)), join(dir, 'node_modules'))
  writeFileSync(join(dir, 'package.json'), '{}')
  const before = { ...process.env }
  t.after(() => {
    rmSync(dir, { recursive: true })
    process.env = before
  })
  return dir
}

const run = (config, options, phase = BUILD) => withPixgate(config, { url: URL_, ...options })(phase, CONTEXT)
const read = (dir, name = 'pixgate-manifest.json') => JSON.parse(readFileSync(join(dir, name), 'utf8'))

test('sets the loader', async (t) => {
  const dir = app(t)
  const config = await run({ reactStrictMode: true, images: { deviceSizes: [640] } }, { dir })
  assert.equal(config.reactStrictMode, true)
  assert.deepEqual([config.images.loader, config.images.deviceSizes], ['custom', [640]])
  assert.ok(existsSync(join(dir, config.images.loaderFile)), config.images.loaderFile)
  assert.deepEqual(config.env, { NEXT_PUBLIC_PIXGATE_URL: URL_ })
  assert.deepEqual(config.transpilePackages, ['@pixgate/next'])
})

test('keeps a loader of the app, its variables and its packages', async (t) => {
  const dir = app(t)
  const config = await run({ env: { A: '1' }, transpilePackages: ['x'], images: { loaderFile: './l.js' } }, { dir })
  assert.equal(config.images.loaderFile, './l.js')
  assert.deepEqual(config.env, { A: '1', NEXT_PUBLIC_PIXGATE_URL: URL_ })
  assert.deepEqual(config.transpilePackages, ['x', '@pixgate/next'])
})

test('sets images.path', async (t) => {
  const { images } = await run({}, { dir: app(t), mode: 'path', url: `${URL_}/` })
  assert.deepEqual([images.path, images.loader, images.loaderFile], [`${URL_}/_next/image`, undefined, undefined])
})

test('leaves the addresses of pictures alone behind an ingress rule', async (t) => {
  const { images, env } = await withPixgate({}, { dir: app(t), mode: 'ingress' })(BUILD, CONTEXT)
  assert.deepEqual([images.path, images.loader, env], [undefined, undefined, undefined])
})

test('qualities are the service\'s unless the app says which; the loader is told', async (t) => {
  const dir = app(t)
  assert.deepEqual((await run({}, { dir })).images.qualities, [50, 75, 90])
  const config = await run({ images: { qualities: [60] } }, { dir })
  assert.deepEqual([config.images.qualities, config.env.NEXT_PUBLIC_PIXGATE_QUALITIES], [[60], '60'])
  assert.deepEqual((await run({}, { dir })).images.formats, ['image/avif', 'image/webp'])
  assert.deepEqual((await run({ images: { formats: ['image/webp'] } }, { dir })).images.formats, ['image/webp'])
})

test('takes functions, also asynchronous ones, and the address from the environment', async (t) => {
  const dir = app(t)
  process.env.NEXT_PUBLIC_PIXGATE_URL = URL_
  const config = await withPixgate(async (phase, { defaultConfig }) => ({ distDir: `${phase}-${defaultConfig.images.path}` }), { dir })(DEV, CONTEXT)
  assert.equal(config.distDir, `${DEV}-/_next/image`)
  assert.equal(config.env.NEXT_PUBLIC_PIXGATE_URL, undefined)
})

test('refuses an address that cannot work, and says why', async (t) => {
  const dir = app(t)
  for (const [url, why] of [
    ['localhost:8091', /neither a URL of http or https nor a path.*Is it http:\/\/localhost:8091\?/],
    ['img.nowhere.test', /Is it https:\/\/img\.nowhere\.test\?/],
    ['127.0.0.1:8080', /Is it http:/],
    ['//img.example.com', /Is it https:\/\/img\.example\.com\?/],
    ['ftp://img.example.com', /neither a URL of http or https/],
    ['http://localhost:8091/image', /ends in \/image\..*leave it out/],
    [`${URL_}/_next/image/`, /ends in \/_next\/image/],
    ['/pictures/image', /ends in \/image/],
    [`${URL_}?x=1`, /query or a fragment/],
    ['"https://img.example.com"', /quote or a space/],
    [` ${URL_}`, /quote or a space/],
    ['https://', /is no URL/],
    ['https://user:word@img.example.com', /user name or password/],
  ]) {
    for (const mode of ['loader', 'path']) {
      for (const phase of [BUILD, DEV, START]) await assert.rejects(run({}, { dir, url, mode }, phase), (error) => why.test(error.message) && error.message.includes('the option url is'), url)
    }
    process.env.NEXT_PUBLIC_PIXGATE_URL = url
    await assert.rejects(withPixgate({}, { dir })(BUILD, CONTEXT), /NEXT_PUBLIC_PIXGATE_URL is/)
    await withPixgate({}, { dir, mode: 'ingress' })(BUILD, CONTEXT)
  }
  for (const url of ['/', '/pictures', '/image-service/', URL_, 'HTTP://localhost:8080/', `${URL_}/images`]) await run({}, { dir, url })
})

/** A server that answers `/readyz`. */
async function serve(t, status, body, headers = {}) {
  const asked = []
  const server = createServer((request, response) => {
    asked.push(request.url)
    response.writeHead(status, headers).end(body)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  return { url: `http://127.0.0.1:${server.address().port}`, asked }
}

test('a build without Pixgate is refused, with the reason and the ways out', async (t) => {
  const dir = app(t)
  delete process.env.SKIP_PIXGATE_CHECK
  const other = await serve(t, 200, '<html>Shop</html>')
  const list = await serve(t, 200, '["ready"]')
  const moved = await serve(t, 301, '', { location: 'https://elsewhere.example/readyz' })
  for (const [url, why] of [
    ['http://127.0.0.1:9', /no Pixgate at http:\/\/127\.0\.0\.1:9 .*cannot be reached: .*ECONNREFUSED/],
    ['http://img.nowhere.test', /cannot be reached: .*img\.nowhere\.test/],
    [other.url.replace('http:', 'https:'), /cannot be reached/],
    [other.url, /status 200\) is not Pixgate/],
    [list.url, /is not Pixgate/],
    [moved.url, /is redirected to https:\/\/elsewhere\.example/],
  ]) {
    for (const mode of ['loader', 'path']) {
      await assert.rejects(run({}, { dir, url, mode }), (error) => why.test(error.message) && /SKIP_PIXGATE_CHECK=1/.test(error.message) && /--next-manifest pixgate-manifest\.json/.test(error.message), url)
    }
    assert.ok(existsSync(join(dir, 'pixgate-manifest.json')), 'to start Pixgate with')
    for (const phase of [DEV, START]) await run({}, { dir, url }, phase)
    process.env.SKIP_PIXGATE_CHECK = '0'
    await assert.rejects(run({}, { dir, url }), why, '0 skips nothing')
    process.env.SKIP_PIXGATE_CHECK = '1'
    await run({}, { dir, url })
    delete process.env.SKIP_PIXGATE_CHECK
  }
  assert.deepEqual([...new Set(other.asked)], ['/readyz'])
})

test('a build with Pixgate asks it once, where the server reaches it', async (t) => {
  const dir = app(t)
  delete process.env.SKIP_PIXGATE_CHECK
  for (const [status, state] of [[200, 'ready'], [200, 'degraded'], [503, 'draining']]) {
    const service = await serve(t, status, JSON.stringify({ status: state, dependencies: {} }))
    for (let n = 0; n < 3; n += 1) await run({}, { dir, url: `${service.url}/` })
    assert.deepEqual(service.asked, ['/readyz'], 'once')
    process.env.PIXGATE_URL = service.url
    await run({}, { dir, url: '/' })
    assert.equal(service.asked.length, 1)
    delete process.env.PIXGATE_NEXT_ASKED
    await run({}, { dir, url: '/' })
    assert.equal(service.asked.length, 2)
  }
  process.env.PIXGATE_URL = 'http://127.0.0.1:9'
  await assert.rejects(run({}, { dir, url: '/' }), /no Pixgate at http:\/\/127\.0\.0\.1:9 \(PIXGATE_URL\)/)
  delete process.env.PIXGATE_URL
  await run({}, { dir, url: '/' })
})

test('in development, what an ingress rule does is done here', async (t) => {
  const dir = app(t)
  delete process.env.PIXGATE_URL
  const rule = (source, destination) => ({ source, destination, basePath: false })
  const plain = await run({}, { dir, url: '/' }, DEV)
  assert.deepEqual(await plain.rewrites(), { beforeFiles: [rule('/image', 'http://localhost:8080/image')], afterFiles: [], fallback: [] })
  assert.equal(plain.env.PIXGATE_URL, 'http://localhost:8080', 'for placeholders')
  process.env.PIXGATE_URL = 'http://127.0.0.1:8090/'
  const mine = { source: '/a', destination: '/b' }
  const listed = await run({ rewrites: async () => [mine] }, { dir, url: '/pictures/' }, DEV)
  assert.deepEqual(await listed.rewrites(), { beforeFiles: [rule('/pictures/image', 'http://127.0.0.1:8090/image')], afterFiles: [mine], fallback: [] })
  const sorted = await run({ rewrites: () => ({ beforeFiles: [mine], fallback: [mine] }) }, { dir, url: '/pictures', mode: 'path' }, DEV)
  assert.deepEqual(await sorted.rewrites(), { beforeFiles: [rule('/pictures/_next/image', 'http://127.0.0.1:8090/_next/image'), mine], afterFiles: [], fallback: [mine] })
  const behind = await run({ basePath: '/shop' }, { dir, mode: 'ingress' }, DEV)
  assert.deepEqual((await behind.rewrites()).beforeFiles, [rule('/shop/_next/image', 'http://127.0.0.1:8090/_next/image')])
  delete process.env.PIXGATE_URL
  for (const [options, phase] of [[{ url: '/' }, BUILD], [{ url: '/' }, START], [{ url: URL_ }, DEV], [{ mode: 'ingress' }, DEV]]) {
    assert.equal((await run({}, { dir, ...options }, phase)).rewrites, undefined)
  }
})

test('in development, the loader knows what is allowed', async (t) => {
  const dir = app(t)
  const images = { domains: ['d.example'], remotePatterns: [{ protocol: 'https', hostname: '**.example.com' }] }
  const { env } = await run({ images }, { dir }, DEV)
  const { domains, remotePatterns, localPatterns } = read(dir).images
  assert.deepEqual(JSON.parse(env.NEXT_PUBLIC_PIXGATE_ALLOWED), { domains, remotePatterns, localPatterns })
  assert.equal((await run({ images }, { dir, mode: 'path' }, DEV)).env.NEXT_PUBLIC_PIXGATE_ALLOWED, undefined, 'Next.js says it itself')
  assert.equal((await run({ images }, { dir })).env.NEXT_PUBLIC_PIXGATE_ALLOWED, undefined, 'nothing of it in a build')
})

test('is there for require too, where Node.js has it for CommonJS alone', (t) => {
  const dir = app(t)
  // The package requires itself by its name, as an app does.
  const script = `const { withPixgate } = require('@pixgate/next/config')
    withPixgate({}, { url: '/', dir: ${JSON.stringify(dir)} })('phase-production-build', { defaultConfig: {} }).then(({ images }) => console.log(images.loaderFile))`
  const old = process.allowedNodeEnvironmentFlags.has('--no-experimental-require-module') ? ['--no-experimental-require-module'] : []
  const said = execFileSync(process.execPath, [...old, '--input-type=commonjs', '-e', script], { cwd: fileURLToPath(new URL('.', import.meta.url)), encoding: 'utf8' })
  assert.ok(existsSync(join(dir, said.trim())), said)
  assert.match(said, /dist\/loader\.js/)
})

test('names what is missing', async (t) => {
  const dir = app(t)
  delete process.env.NEXT_PUBLIC_PIXGATE_URL
  for (const phase of [BUILD, DEV]) await assert.rejects(withPixgate({}, { dir })(phase, CONTEXT), /NEXT_PUBLIC_PIXGATE_URL/)
  await assert.rejects(withPixgate({}, { dir, mode: 'path' })(START, CONTEXT), /NEXT_PUBLIC_PIXGATE_URL/)
  assert.equal((await withPixgate({}, { dir })(START, CONTEXT)).images.loader, 'custom', 'it is in the build')
  await assert.rejects(withPixgate({}, { dir: tmpdir(), url: URL_ })(BUILD, CONTEXT), /has no Next\.js/)
})

test('writes the allow-list', async (t) => {
  const dir = app(t)
  const images = {
    remotePatterns: [{ protocol: 'https', hostname: '**.example.com', pathname: '/photos/**' }, new URL('https://b.example/x/*?v=1'), { hostname: 'c.example' }],
    domains: ['d.example'],
    imageSizes: [24],
    minimumCacheTTL: 3600,
  }
  await run({ images }, { dir })
  const { version, images: written } = read(dir)
  assert.equal(version, 1)
  const { makeRe } = require('next/dist/compiled/picomatch')
  const any = makeRe('**', { dot: true }).source
  assert.deepEqual(written.remotePatterns, [
    { protocol: 'https', hostname: makeRe('**.example.com').source, pathname: makeRe('/photos/**', { dot: true }).source },
    { protocol: 'https', hostname: makeRe('b.example').source, port: '', pathname: makeRe('/x/*', { dot: true }).source, search: '?v=1' },
    { hostname: makeRe('c.example').source, pathname: any },
  ])
  assert.deepEqual(written.localPatterns, [{ pathname: any, search: '' }])
  assert.deepEqual([written.domains, written.imageSizes, written.deviceSizes], [['d.example'], [24], imageConfigDefault.deviceSizes])
  assert.deepEqual([written.qualities, written.formats, written.minimumCacheTTL], [[50, 75, 90], ['image/avif', 'image/webp'], 3600])
  assert.deepEqual([written.path, written.dangerouslyAllowLocalIP, written.dangerouslyAllowSVG], [undefined, false, false])
})

test('how long a picture is kept is what the app says, or its Next.js', async (t) => {
  const dir = app(t)
  await run({}, { dir })
  assert.equal(read(dir).images.minimumCacheTTL, 14_400)
  // Next.js 14 and 15.
  await withPixgate({}, { dir, url: URL_ })(BUILD, { defaultConfig: { images: { ...imageConfigDefault, minimumCacheTTL: 60 } } })
  assert.equal(read(dir).images.minimumCacheTTL, 60)
  await run({ images: { minimumCacheTTL: 0 } }, { dir })
  assert.equal(read(dir).images.minimumCacheTTL, 0)
})

test('local patterns get what the app was built with, an assetPrefix its host', async (t) => {
  const dir = app(t)
  await run({ assetPrefix: 'https://cdn.example:8443/x', images: { localPatterns: [{ pathname: '/a/**' }] } }, { dir, mode: 'path' })
  const { images } = read(dir)
  assert.equal(images.localPatterns.length, 3)
  assert.deepEqual(images.remotePatterns.map(({ protocol, port }) => [protocol, port]), [['https', '8443']])
  assert.equal(images.path, `${URL_}/_next/image`)
  await run({ assetPrefix: 'https://cdn.example', images: { remotePatterns: [{ hostname: '*.example' }] } }, { dir, mode: 'path' })
  assert.equal(read(dir).images.remotePatterns.length, 1)
})

test('writes while building and developing only, when something changed, whole, and where it is told', async (t) => {
  const dir = app(t)
  await run({}, { dir }, START)
  assert.ok(!existsSync(join(dir, 'pixgate-manifest.json')))
  await run({}, { dir }, DEV)
  const before = statSync(join(dir, 'pixgate-manifest.json'))
  await run({}, { dir })
  assert.equal(statSync(join(dir, 'pixgate-manifest.json')).ino, before.ino, 'nothing changed')
  await run({ images: { domains: ['e.example'] } }, { dir })
  assert.deepEqual(read(dir).images.domains, ['e.example'])
  await run({}, { dir, manifest: 'other.json' })
  assert.ok(read(dir, 'other.json'))
  assert.deepEqual(readdirSync(dir).sort(), ['node_modules', 'other.json', 'package.json', 'pixgate-manifest.json'])
  rmSync(join(dir, 'other.json'))
  await run({}, { dir, manifest: false })
  assert.ok(!existsSync(join(dir, 'other.json')))
})
