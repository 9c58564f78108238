// What of the package each side gets: `exports` decides, by conditions that bundlers set.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

import * as server from '@pixgate/next'

import * as browser from '../dist/browser.js'
import * as components from '../dist/index.js'

const INSTEAD = /server components only.*use <Image> of next\/image.*getImages\(\).*imageUrl\(\)/
const dist = fileURLToPath(new URL('../dist/', import.meta.url))

test('every side has the same names', () => {
  assert.deepEqual(Object.keys(browser).sort(), Object.keys(server).sort())
  assert.deepEqual(Object.keys(components).sort(), Object.keys(server).sort())
})

test('each condition leads to its side', () => {
  const cwd = fileURLToPath(new URL('.', import.meta.url))
  const resolved = (...conditions) =>
    execFileSync(process.execPath, [...conditions.map((name) => `--conditions=${name}`), '--input-type=module', '-e', "console.log(import.meta.resolve('@pixgate/next'))"], { cwd, encoding: 'utf8' }).trim()
  assert.match(resolved('react-server'), /dist\/index\.js$/)
  assert.match(resolved('browser'), /dist\/browser\.js$/)
  assert.match(resolved('react-server', 'browser'), /dist\/index\.js$/)
  assert.match(resolved(), /dist\/server\.js$/)
})

test('in the browser, what needs the server says what to use instead, when it is used', () => {
  for (const name of ['PixgateImage', 'getImage', 'getImages', 'getDetails', 'configurePixgate', 'thumbHashDataURL', 'blurHashDataURL']) {
    assert.throws(() => browser[name]({}), (error) => INSTEAD.test(error.message) && error.message.includes(name), name)
  }
  assert.throws(() => new browser.Pixgate(), INSTEAD)
  assert.equal(browser.imageUrl('/', '/a.jpg', 64, 75), '/image?url=%2Fa.jpg&w=64&q=75')
  assert.equal(browser.hasPlaceholder({ blurDataURL: 'data:x' }), true)
})

test('nothing of Node.js is behind the browser entry, the loader and /url', () => {
  const seen = new Set()
  const follow = (file) => {
    if (seen.has(file)) return
    seen.add(file)
    const text = readFileSync(`${dist}${file}`, 'utf8')
    assert.doesNotMatch(text, /\brequire\(/, file)
    // `from '…'`, `import '…'` and `import('…')`, in either quotes.
    for (const [, from] of text.matchAll(/\b(?:from|import)\s*\(?\s*['"]([^'"]+)['"]/g)) {
      assert.ok(from.startsWith('./'), `${file}: ${from}`)
      follow(from.slice(2))
    }
  }
  for (const file of ['browser.js', 'loader.js', 'url.js']) follow(file)
  for (const file of ['misplaced.js', 'development.js', 'types.js']) assert.ok(seen.has(file), `${file} was followed`)
  assert.ok(seen.size < readdirSync(dist).filter((file) => file.endsWith('.js')).length)
})

test('client components and pages of the Pages Router are told by <PixgateImage> itself', () => {
  assert.throws(() => server.PixgateImage({ src: '/a.jpg', alt: '' }), INSTEAD)
})
