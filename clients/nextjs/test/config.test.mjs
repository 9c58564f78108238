import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'node:test'

import { withPixgate } from '@pixgate/next/config'

const require = createRequire(import.meta.url)
const { imageConfigDefault } = require('next/dist/shared/lib/image-config.js')
const CONTEXT = { defaultConfig: { images: imageConfigDefault } }
const [BUILD, DEV, START] = ['phase-production-build', 'phase-development-server', 'phase-production-server']
const URL_ = 'https://img.example.com'

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
  assert.equal(config.env, undefined)
})

test('names what is missing', async (t) => {
  const dir = app(t)
  delete process.env.NEXT_PUBLIC_PIXGATE_URL
  await assert.rejects(withPixgate({}, { dir })(BUILD, CONTEXT), /NEXT_PUBLIC_PIXGATE_URL/)
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
