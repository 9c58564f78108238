// `@pixgate/next/config` for `require`, which Node.js has had for ECMAScript modules since 20.19 only. It is built into a
// folder of its own, beside which the loader is.

import { join } from 'node:path'

import { withLoader } from './with-pixgate.js'

export type { WithPixgateOptions } from './with-pixgate.js'

/** Wraps a configuration, or a function that gives one: the app's images come from Pixgate. */
export const withPixgate = withLoader(join(__dirname, '../loader.js'))
