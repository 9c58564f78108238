// `<PixgateImage>` through the real `next/image` and React's renderer.
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { blurHashDataURL, configurePixgate, getImage, thumbHashDataURL } from '@pixgate/next'
import { createElement } from 'react'
import { renderToStaticMarkup } from 'react-dom/server'

import { blurredDataURL } from '../dist/blur.js'
import { PixgateImage } from '../dist/image.js'
import { write } from './png.mjs'
import { PIXEL, placeholder, start } from './service.mjs'

const SRC = 'https://a.example/a.jpg'
// Under `test`, Next.js looks at everything but whether its own loader may fetch from this host.
process.env.NODE_ENV = 'test'
const { default: Image } = await import('next/image.js').then((module) => module.default)

async function render(props) {
  return renderToStaticMarkup(await PixgateImage({ src: SRC, alt: 'a', ...props }))
}

async function up(t, answer) {
  const service = await start(t, answer)
  configurePixgate({ url: service.at, onError: () => {} })
  return service
}

async function down(t) {
  return up(t, (_, response) => void response.writeHead(500).end())
}

test('sizes and placeholder come from the service', async (t) => {
  await up(t)
  const html = await render({})
  assert.match(html, / width="2048" height="1365"/)
  assert.ok(html.includes(PIXEL), html)
  assert.match(html, /viewBox=&#x27;0 0 320 200&#x27;/)
  assert.match(html, /srcSet="[^"]*url=https%3A%2F%2Fa\.example%2Fa\.jpg/)
})

test('the blur is a picture that was blurred here, and nothing else of the kind is in the page', async (t) => {
  const small = write([[[200, 40, 40], [40, 40, 200]], [[40, 200, 40], [0, 0, 0]]])
  await up(t, (urls) => urls.map((src) => placeholder(src, { blurDataURL: small })))
  for (const props of [{}, { placeholder: 'blur' }, { fill: true, sizes: '50vw' }]) {
    const html = await render(props)
    assert.ok(html.includes(`background-image:url(&quot;${blurredDataURL(small)}&quot;)`), html)
    assert.ok(!html.includes('feGaussianBlur') && !html.includes(small), html)
    // What is written into the page for the browser.
    const given = (await PixgateImage({ src: SRC, alt: 'a', ...props })).props.src
    assert.deepEqual(given, { src: SRC, width: 2048, height: 1365 })
  }
  const own = await render({ blurDataURL: PIXEL })
  assert.ok(own.includes(PIXEL) && own.includes('feGaussianBlur') && !own.includes(small), 'a placeholder of the app, as Next.js has it')
})

test('fill, sizes and priority are those of <Image>', async (t) => {
  await up(t)
  const html = await render({ fill: true, sizes: '50vw', priority: true })
  assert.match(html, /data-nimg="fill"/)
  assert.ok(!/<img[^>]* width="/.test(html) && html.includes(PIXEL) && html.includes('sizes="50vw"'), html)
  assert.ok(!html.includes('loading="lazy"'))
  assert.match(await render({ width: 300 }), / width="300" height="200"/)
})

test('a placeholder of the app wins', async (t) => {
  await up(t)
  const html = await render({ placeholder: 'empty' })
  assert.ok(!html.includes(PIXEL) && !html.includes('background-image'), html)
})

test('what needs nothing of the service does not wait for it', async (t) => {
  const service = await up(t)
  for (const size of [{ width: 300, height: 100 }, { fill: true, sizes: '50vw' }]) {
    const html = await render({ ...size, placeholder: 'empty' })
    assert.ok(html.includes('url=https%3A%2F%2Fa.example%2Fa.jpg') && !html.includes('background-image'), html)
    assert.ok((await render({ ...size, blurDataURL: PIXEL })).includes(PIXEL), 'a placeholder of the app')
    assert.ok((await render({ ...size, placeholder: PIXEL })).includes(PIXEL), 'a placeholder of the app')
  }
  assert.match(await render({ width: 300, height: 100, placeholder: 'empty' }), / width="300" height="100"/)
  assert.equal(service.asked.length, 0)
  assert.match(await render({ width: 300, placeholder: 'empty' }), / width="300" height="200"/)
  assert.equal(service.asked.length, 1, 'for the height')
})

test('ThumbHash and BlurHash are shown as the pictures they stand for', async (t) => {
  const [thumbhash, blurhash] = ['4dYJHYJliIePmHeIiCeHhpZzUFoI', 'LaD,$iM}V?s:.AbIWXt6S8ofbIt6']
  await up(t, (urls) => urls.map((src) => placeholder(src, { thumbhash, blurhash })))
  for (const [kind, url] of [['thumbhash', thumbHashDataURL(thumbhash)], ['blurhash', blurHashDataURL(blurhash, 2048, 1365)]]) {
    const html = await render({ placeholder: kind })
    assert.ok(html.includes(`background-image:url(&quot;${url}&quot;)`), html)
    assert.match(html, / width="2048" height="1365"/)
  }
  assert.notEqual(thumbHashDataURL(thumbhash), blurHashDataURL(blurhash, 2048, 1365))
})

test('a hash that cannot be read leaves the usual blur', async (t) => {
  await up(t)
  for (const kind of ['thumbhash', 'blurhash']) {
    const html = await render({ placeholder: kind })
    assert.ok(html.includes(PIXEL) && html.includes('feGaussianBlur'), html)
  }
})

test('without the service the picture is there all the same', async (t) => {
  await down(t)
  for (const [props, expected] of [
    [{}, /width="1200" height="800".*style="color:transparent;max-width:100%;height:auto"|style="[^"]*height:auto[^"]*"/],
    [{ fill: true }, /data-nimg="fill"/],
    [{ width: 300, height: 100 }, /width="300" height="100"/],
    [{ width: '300', height: '100', placeholder: 'blur' }, /width="300" height="100"/],
    [{ width: 300, height: 100, placeholder: 'thumbhash' }, /width="300" height="100"/],
    [{ width: 300, height: 100, placeholder: 'blurhash' }, /width="300" height="100"/],
  ]) {
    const html = await render(props)
    assert.match(html, expected)
    assert.match(html, /srcSet="/)
    assert.ok(!html.includes('background-image'), html)
  }
  assert.ok(!(await render({ width: 300, height: 100 })).includes('height:auto'), 'a size that was given is kept')
  const own = await render({ width: 300, height: 100, placeholder: 'blur', blurDataURL: PIXEL })
  assert.ok(own.includes(PIXEL), 'a placeholder of the app is shown')
})

test('what getImage gives without the service is what <Image placeholder="blur"> takes', async (t) => {
  await down(t)
  const errors = t.mock.method(console, 'error', () => {})
  for (const props of [{}, { fill: true }, { width: 300, height: 100 }, { width: 300 }]) {
    const src = await getImage(SRC, props)
    const html = renderToStaticMarkup(createElement(Image, { alt: '', placeholder: 'blur', src, ...props }))
    assert.match(html, /<img/)
  }
  assert.equal(errors.mock.callCount(), 0)
})

test('inlined pictures pass through', async (t) => {
  const service = await up(t)
  for (const placeholder of [undefined, 'blur', 'thumbhash', 'blurhash', 'empty']) {
    const html = renderToStaticMarkup(await PixgateImage({ src: PIXEL, alt: '', width: 10, height: 10, placeholder }))
    assert.ok(html.includes(`src="${PIXEL}"`) && !html.includes('background-image'), html)
  }
  assert.equal(service.asked.length, 0)
})

test('pictures of one page share a request', async (t) => {
  const service = await up(t, (urls) => urls.map((src) => placeholder(src)))
  await Promise.all([1, 2, 3].map((n) => PixgateImage({ src: `https://a.example/${n}.jpg`, alt: '' })))
  assert.deepEqual(service.asked.map((urls) => urls.length), [3])
})

test('a static import is handed to <Image>', async (t) => {
  const service = await up(t)
  const data = { src: '/_next/static/media/a.1.jpg', width: 300, height: 200, blurDataURL: PIXEL, blurWidth: 8, blurHeight: 5 }
  const without = { src: '/_next/static/media/a.1.gif', width: 300, height: 200 }
  for (const [src, shown] of [[data, true], [{ default: data }, true], [without, false]]) {
    for (const placeholder of [undefined, 'blur', 'thumbhash', 'blurhash']) {
      const html = renderToStaticMarkup(await PixgateImage({ src, alt: '', placeholder }))
      assert.match(html, / width="300" height="200"/)
      assert.match(html, /url=%2F_next%2Fstatic%2Fmedia%2Fa\.1/)
      assert.equal(html.includes(PIXEL), shown, `${placeholder}`)
    }
    assert.ok(!renderToStaticMarkup(await PixgateImage({ src, alt: '', placeholder: 'empty' })).includes(PIXEL))
  }
  assert.equal(service.asked.length, 0)
})

test('SVG is shown as it is, at the size that is given or found out', async (t) => {
  const service = await up(t)
  for (const [props, expected] of [[{ width: 30, height: 20 }, / width="30" height="20"/], [{ fill: true }, /data-nimg="fill"/], [{}, /height:auto/]]) {
    const html = renderToStaticMarkup(await PixgateImage({ src: '/logo.svg', alt: '', ...props }))
    assert.match(html, expected)
    assert.ok(html.includes('src="/logo.svg"') && !html.includes('srcSet'), html)
  }
  assert.equal(service.asked.length, 0)
})

test('no page fails for what onError throws', async (t) => {
  await down(t)
  const warned = t.mock.method(console, 'warn', () => {})
  configurePixgate({ url: 'http://127.0.0.1:9', onError: () => { throw new Error('of the app') } })
  assert.match(await render({}), /srcSet=/)
  assert.equal(warned.mock.callCount(), 1)
})
