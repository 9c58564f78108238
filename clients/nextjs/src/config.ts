// `@pixgate/next/config` as an ECMAScript module; config-cjs.ts is the same for `require`.

import { fileURLToPath } from 'node:url'

import { withLoader } from './with-pixgate.js'

export type { WithPixgateOptions } from './with-pixgate.js'

/** Wraps a configuration, or a function that gives one: the app's images come from Pixgate. */
export const withPixgate = withLoader(fileURLToPath(new URL('./loader.js', import.meta.url)))
