// The README's three ways with Next.js 15.
import { describe, test } from 'node:test'

import { byLoader, byPath, follow, ingress } from './readme-ways.mjs'

follow(15)

describe('the README, Next.js 15', () => {
  test('ingress', (t) => ingress(t, 15))
  test('path', (t) => byPath(t, 15))
  test('loader', (t) => byLoader(t, 15))
})
