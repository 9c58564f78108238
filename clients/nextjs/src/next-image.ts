// `next/image` as a component, whoever resolves it: it is CommonJS, and bundlers disagree on what its default import is
// to a package of ECMAScript modules. A reference to a client component must not be looked into, so the type decides.

import type { ImageProps } from 'next/image.js'
import type { ComponentType } from 'react'
import * as imported from 'next/image.js'

type Component = ComponentType<ImageProps>

function isWrapped(value: unknown): value is { default: unknown } {
  return typeof value === 'object' && value !== null && !('$$typeof' in value) && 'default' in value
}

function unwrap(value: unknown): Component {
  return isWrapped(value) ? unwrap(value.default) : (value as Component)
}

export const NextImage: Component = unwrap(imported)
