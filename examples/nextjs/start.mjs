// Starts the example as built: the pictures' origin, each build, and the front that has them all under one address.
// Pixgate runs beside it: pixgate serve --next-manifest pixgate-manifest-loader.json --base-url http://127.0.0.1:3004
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

import { startFront } from './front.mjs'
import { startOrigin } from './origin.mjs'

const pixgate = process.env.NEXT_PUBLIC_PIXGATE_URL ?? 'http://127.0.0.1:8080'
const first = Number(process.env.PORT ?? 3000)
const origin = await startOrigin(Number(process.env.ORIGIN_PORT ?? 4100))
const apps = {}
for (const [n, mode] of ['next', 'ingress', 'path', 'loader', 'own'].entries()) {
  const port = first + 1 + n
  const env = { NEXT_TELEMETRY_DISABLED: '1', ...process.env, EXAMPLE_MODE: mode, ORIGIN_URL: origin.url, NEXT_PUBLIC_PIXGATE_URL: pixgate, PIXGATE_URL: pixgate }
  const app = spawn(process.execPath, ['node_modules/next/dist/bin/next', 'start', '-H', '127.0.0.1', '-p', String(port)], {
    cwd: fileURLToPath(new URL('.', import.meta.url)), env, stdio: ['ignore', 'ignore', 'inherit'],
  })
  app.on('exit', (code) => process.exit(code ?? 1))
  process.on('exit', () => app.kill())
  apps[mode] = `http://127.0.0.1:${port}`
}
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(0))
const { url } = await startFront({ apps, pixgate, port: first })
console.log(`${url}: Next.js's own optimizer; ${url}/ingress, ${url}/path, ${url}/loader, ${url}/own: Pixgate at ${pixgate}`)
