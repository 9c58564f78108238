// The loader for `images.loaderFile`. It runs on the server and in the browser and must say the same on both, so it
// knows nothing but its arguments and variables that Next.js writes into the bundle. They have to be spelled out in full
// here: Next.js replaces the text `process.env.NEXT_PUBLIC_...`, not a look-up. It is no client module (`'use client'`):
// `getImageProps` in a server component calls it on the server.

import type { ImageLoaderProps } from 'next/image.js'

import { assertAllowed } from './development.js'
import { imageUrl, isInline, isVector, ownUrl, parseQualities, snapQuality, withoutDeployment } from './url.js'

/** Where Next.js asks for a picture: Pixgate's `/image`, in the format that the browser's `Accept` allows. */
export default function pixgateLoader({ src, width, quality }: ImageLoaderProps): string {
  if (isInline(src)) return src
  if (isVector(src)) return ownUrl(src, width)
  const base = process.env.NEXT_PUBLIC_PIXGATE_URL
  if (!base) {
    throw new Error(
      '@pixgate/next: NEXT_PUBLIC_PIXGATE_URL is not set. It is the address of Pixgate as browsers see it, for example ' +
        'https://img.example.com, and it has to be there when the app is built.',
    )
  }
  const picture = withoutDeployment(src)
  if (process.env.NODE_ENV === 'development') assertAllowed(picture, process.env.NEXT_PUBLIC_PIXGATE_ALLOWED)
  return imageUrl(base, picture, width, snapQuality(quality, parseQualities(process.env.NEXT_PUBLIC_PIXGATE_QUALITIES)))
}
