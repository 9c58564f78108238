'use client'

// The loader for `images.loaderFile`. It runs on the server and in the browser and must say the same on both, so it
// knows nothing but its arguments and two variables that Next.js writes into the bundle. They have to be spelled out
// in full here: Next.js replaces the text `process.env.NEXT_PUBLIC_...`, not a look-up.

import type { ImageLoaderProps } from 'next/image.js'

import { imageUrl, isLeftAlone, parseQualities, snapQuality } from './url.js'

/** Where Next.js asks for a picture: Pixgate's `/image`, in the format that the browser's `Accept` allows. */
export default function pixgateLoader({ src, width, quality }: ImageLoaderProps): string {
  if (isLeftAlone(src)) return src
  const base = process.env.NEXT_PUBLIC_PIXGATE_URL
  if (!base) {
    throw new Error(
      '@pixgate/next: NEXT_PUBLIC_PIXGATE_URL is not set. It is the address of Pixgate as browsers see it, for example ' +
        'https://img.example.com, and it has to be there when the app is built.',
    )
  }
  return imageUrl(base, src, width, snapQuality(quality, parseQualities(process.env.NEXT_PUBLIC_PIXGATE_QUALITIES)))
}
