import { PixgateImage } from '@pixgate/next'
import Image, { type ImageProps } from 'next/image'

import type { PhotoData } from './photos'

type Props = { photo: PhotoData } & Omit<ImageProps, 'src' | 'alt'>

/** A picture. With Pixgate's loader its sizes and its placeholder come from the service; else its sizes from our data. */
export function Photo({ photo: { src, alt, width, height }, ...props }: Props) {
  if (process.env.EXAMPLE_MODE === 'loader') return <PixgateImage src={src} alt={alt} {...props} />
  const size = props.fill || props.width ? {} : { width, height }
  return <Image src={src} alt={alt} {...size} {...props} />
}
