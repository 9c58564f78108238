// What sharp makes of images when it is called as Next.js 16 calls it, as files: the measure that
// `cargo run --release --example calibrate -- anchors OUT FILE...` fits our encoders to.
// Usage: node anchors.mjs OUT FILE... writes OUT/WIDTH/QUALITY/NAME.FORMAT, for widths that FILE reaches.
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import sharp from 'sharp'
import { optimize } from './optimize.mjs'

const widths = [192, 256, 384, 640, 1080, 1920]
const qualities = [1, 10, 25, 50, 60, 70, 75, 80, 85, 90, 100]
const formats = ['avif', 'webp', 'jpeg']

const [out, ...files] = process.argv.slice(2)
if (!files.length) throw new Error('usage: node anchors.mjs OUT FILE...')
for (const file of files) {
  const source = await readFile(file)
  const { width: own } = await sharp(source).metadata()
  for (const width of widths.filter((width) => width <= own)) {
    for (const quality of qualities) {
      const dir = join(out, String(width), String(quality))
      await mkdir(dir, { recursive: true })
      for (const format of formats)
        await writeFile(join(dir, `${basename(file)}.${format}`), await optimize(source, width, quality, format))
    }
  }
}
