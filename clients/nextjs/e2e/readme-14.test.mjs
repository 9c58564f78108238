// The README's three ways with Next.js 14.
import { describe, test } from 'node:test'

import { byLoader, byPath, follow, ingress } from './readme-ways.mjs'

follow(14)

describe('the README, Next.js 14', () => {
  test('ingress', (t) => ingress(t, 14))
  test('path', (t) => byPath(t, 14))
  test('loader', (t) => byLoader(t, 14))
})
