// Builds the app for each way. NEXT_PUBLIC_PIXGATE_URL is written into what asks Pixgate, which need not be there yet.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const directory = fileURLToPath(new URL('.', import.meta.url))
const modes = process.argv.slice(2)
for (const mode of modes.length > 0 ? modes : ['next', 'ingress', 'path', 'loader', 'own']) {
  const env = { NEXT_PUBLIC_PIXGATE_URL: 'http://127.0.0.1:8080', NEXT_TELEMETRY_DISABLED: '1', SKIP_PIXGATE_CHECK: '1', ...process.env, EXAMPLE_MODE: mode }
  console.log(`build: ${mode}`)
  const { status } = spawnSync(process.execPath, ['node_modules/next/dist/bin/next', 'build'], { cwd: directory, env, stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}
