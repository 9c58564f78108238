// The README's own steps, read out of it: which blocks of code a section has, and the files and commands they are.
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const README = fileURLToPath(new URL('../../../README.md', import.meta.url))

/**
 * The blocks of the section under a heading, up to its first subsection, in order. The first line of a file names it in a
 * comment; a block of `sh` is commands.
 */
export function blocks(heading) {
  const lines = readFileSync(README, 'utf8').split('\n')
  const start = lines.indexOf(heading)
  if (start < 0) throw new Error(`README.md has no section "${heading}"`)
  const found = []
  let block
  for (const line of lines.slice(start + 1)) {
    const fence = /^```(\w*)$/.exec(line)
    if (block && fence) {
      found.push(block)
      block = undefined
    } else if (block) {
      block.lines.push(line)
    } else if (fence) {
      block = { language: fence[1], lines: [] }
    } else if (/^#+ /.test(line)) {
      break
    }
  }
  return found.map(({ language, lines }) => {
    if (language === 'sh') return { commands: lines }
    const file = /^(?:\/\/|#|<!--) ([\w./-]+)(?: -->)?$/.exec(lines[0])?.[1]
    if (!file) throw new Error(`README.md, "${heading}": a block of ${language} that names no file: ${lines[0]}`)
    return { file, text: `${lines.join('\n')}\n` }
  })
}
