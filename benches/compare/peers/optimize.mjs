// sharp with the calls and settings of Next.js 16's optimizer (next/dist/server/image-optimizer/transform.js).
import sharp from 'sharp'

// Next.js blocks every loader but these, and halves the threads of one picture in production.
const loaders = ['Heif', 'Jpeg', 'Nsgif', 'Png', 'Svg', 'Tiff', 'Webp'].map((name) => `VipsForeignLoad${name}`)
sharp.block({ operation: ['VipsForeignLoad'] })
sharp.unblock({ operation: loaders })
if (sharp.concurrency() > 1) sharp.concurrency(Math.floor(Math.max(sharp.concurrency() / 2, 1)))

export async function optimize(source, width, quality, format) {
  const transformer = sharp(source, { limitInputPixels: 268402689, sequentialRead: undefined })
    .timeout({ seconds: 7 })
    .rotate()
    .resize(width, undefined, { withoutEnlargement: true })
  if (format === 'avif') transformer.avif({ quality: Math.max(Math.round(quality * (50 / 80)), 1), effort: 3 })
  else if (format === 'jpeg') transformer.jpeg({ quality, mozjpeg: true })
  else transformer.webp({ quality })
  return transformer.toBuffer()
}
