// One allow-list: what `withPixgate` writes, the service reads, at a start with --next-manifest as well as through
// `pixgate import-next`, and then it admits exactly what the app's own Next.js would.
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

import { withPixgate } from '@pixgate/next/config'

import { binary, finish, freePort, startPixgate, withoutSettings } from './harness.mjs'

const require = createRequire(import.meta.url)
const { imageConfigDefault } = require('next/dist/shared/lib/image-config.js')
const { hasRemoteMatch } = require('next/dist/shared/lib/match-remote-pattern.js')
const { hasLocalMatch } = require('next/dist/shared/lib/match-local-pattern.js')

const images = {
  domains: ['exact.example'],
  remotePatterns: [
    { protocol: 'https', hostname: '**.example.com', pathname: '/photos/**' },
    { hostname: '*.cdn.example', port: '8443' },
    { protocol: 'http', hostname: 'media-{a,b}.example', pathname: '/[0-9]*/*.jpg', search: '?v=1' },
    new URL('https://url.example/x/*'),
    { hostname: '!(private).bang.example' },
  ],
  localPatterns: [{ pathname: '/assets/**', search: '' }, { pathname: '/queries/*' }],
  deviceSizes: [320, 640],
  imageSizes: [24],
  qualities: [60],
}

const REMOTE = [
  'https://exact.example/a.jpg', 'http://exact.example:81/a.jpg?x', 'https://www.exact.example/a.jpg', 'https://exact.example.evil/a.jpg',
  'https://a.example.com/photos/1/2.jpg', 'https://a.b.example.com/photos/x', 'https://a.example.com/photos', 'https://example.com/photos/x', 'http://a.example.com/photos/x',
  'https://a.example.com/private/x', 'https://a.example.com/photos/../private/x', 'https://a.example.com/photos/%2e%2e/private/x', 'https://a.example.com:444/photos/x',
  'https://img.cdn.example:8443/any', 'https://img.cdn.example/any', 'http://x.y.cdn.example:8443/any?q', 'https://cdn.example:8443/any',
  'http://media-a.example/9x/p.jpg?v=1', 'http://media-a.example/9x/p.jpg', 'http://media-c.example/9x/p.jpg?v=1', 'http://media-b.example/x9/p.jpg?v=1', 'https://media-b.example/1/p.jpg?v=1', 'http://media-b.example/1/p.png?v=1',
  'https://url.example/x/a', 'https://url.example/x/a?q', 'https://url.example/x/a/b', 'https://url.example:1/x/a', 'http://url.example/x/a',
  'https://ok.bang.example/a', 'https://private.bang.example/a', 'https://nowhere.example/a',
]
const LOCAL = ['/assets/a.jpg', '/assets/a/b.jpg', '/assets', '/assets/a.jpg?v=1', '/queries/a?v=1', '/queries/a/b', '/other/a.jpg', '/_next/static/media/a.jpg', '/_next/static/media/a.jpg?v=1']

test('the service admits what Next.js would, and asks for the same widths and qualities', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'pixgate-allow-'))
  t.after(() => rmSync(dir, { recursive: true }))
  symlinkSync(fileURLToPath(new URL('../node_modules', import.meta.url)), join(dir, 'node_modules'))
  writeFileSync(join(dir, 'package.json'), '{}')
  process.env.SKIP_PIXGATE_CHECK = '1'
  await withPixgate({ images }, { dir, url: 'https://img.example.com' })('phase-production-build', { defaultConfig: { images: imageConfigDefault } })
  const manifest = join(dir, 'pixgate-manifest.json')
  const toml = await finish(binary(), ['import-next', manifest], { cwd: dir, env: withoutSettings() })
  writeFileSync(join(dir, 'imported.toml'), toml)

  // Nothing is there to be fetched: what is admitted fails later, and for another reason.
  const args = ['--set', 'sources.base_url=http://127.0.0.1:9', '--set', 'sources.connect_timeout=250ms', '--set', 'sources.timeout=2s']
  const local = [...images.localPatterns, { pathname: '/_next/static/media/**', search: '' }]
  for (const [name, how] of [['--next-manifest', { manifest }], ['import-next', { manifest: null, config: join(dir, 'imported.toml') }]]) {
    const url = `http://127.0.0.1:${await freePort()}`
    const service = await startPixgate({ url, manifest: how.manifest, args: [...args, ...(how.config ? ['--config', how.config] : [])] })
    const admitted = async (src, w = 640, q = 60) => {
      const { status, headers } = await fetch(`${url}/_next/image?url=${encodeURIComponent(src)}&w=${w}&q=${q}`)
      assert.ok(status >= 400 && headers.get('content-type')?.startsWith('text/plain'), `${src}: ${status}`)
      return status !== 400
    }
    try {
      for (const src of REMOTE) assert.equal(await admitted(src), hasRemoteMatch(images.domains, images.remotePatterns, new URL(src)), `${name}: ${src}`)
      for (const src of LOCAL) assert.equal(await admitted(src), hasLocalMatch(local, src), `${name}: ${src}`)
      const any = '/assets/a.jpg'
      for (const [w, q, allowed] of [[320, 60, true], [24, 60, true], [640, 60, true], [32, 60, false], [750, 60, false], [640, 75, false]]) {
        assert.equal(await admitted(any, w, q), allowed, `${name}: ${w} ${q}`)
      }
    } finally {
      await service.stop()
    }
  }
  assert.ok(REMOTE.some((src) => hasRemoteMatch(images.domains, images.remotePatterns, new URL(src))), 'both answers occur')
  assert.match(readFileSync(manifest, 'utf8'), /"version": 1/)
})
