import { imageUrl } from '@pixgate/next'

import { photo } from '../photos'

export const dynamic = 'force-dynamic'

const WIDTHS = [384, 640, 828, 1200]

/** No `<Image>` at all: one type a source with `f`, or one `<img>` and the browser's Accept. */
export default function Plain() {
  const base = process.env.NEXT_PUBLIC_PIXGATE_URL ?? ''
  const srcSet = (src: string, more = '') => WIDTHS.map((w) => `${imageUrl(base, src, w, 75)}${more} ${w}w`).join(', ')
  const sizes = '(max-width: 632px) 100vw, 600px'
  const [lake, cat] = [photo(0), photo(6)]
  return (
    <div className="plain">
      <picture>
        <source type="image/avif" srcSet={srcSet(lake.src, '&f=avif')} sizes={sizes} />
        <source type="image/webp" srcSet={srcSet(lake.src, '&f=webp')} sizes={sizes} />
        <img src={`${imageUrl(base, lake.src, 640, 75)}&f=jpeg`} width={lake.width} height={lake.height} alt={lake.alt} />
      </picture>
      <img src={imageUrl(base, cat.src, 640, 75)} srcSet={srcSet(cat.src)} sizes={sizes} width={cat.width} height={cat.height} alt={cat.alt} loading="lazy" />
    </div>
  )
}
