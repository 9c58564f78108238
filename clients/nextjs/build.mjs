// Builds dist/: ECMAScript modules, and @pixgate/next/config in CommonJS too, for the `require` of a next.config.js.
import { spawnSync } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const cwd = fileURLToPath(new URL('.', import.meta.url))
const typescript = fileURLToPath(new URL('./node_modules/typescript/bin/tsc', import.meta.url))
rmSync(`${cwd}dist`, { recursive: true, force: true })
for (const project of ['tsconfig.json', 'tsconfig.cjs.json']) {
  const { status } = spawnSync(process.execPath, [typescript, '-p', project], { cwd, stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}
writeFileSync(`${cwd}dist/cjs/package.json`, '{ "type": "commonjs" }\n')
