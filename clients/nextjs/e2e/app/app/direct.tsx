'use client'

import { imageUrl } from '@pixgate/next/url'

/** A link made in the browser's own code: of the package's server side nothing may come with it. */
export function Direct({ src }: { src: string }) {
  return <a href={imageUrl(process.env.NEXT_PUBLIC_PIXGATE_URL ?? '', src, 640, 75)}>Retina</a>
}
