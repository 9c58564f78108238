import { PixgateImage } from '@pixgate/next'
import Image, { type ImageProps } from 'next/image'

import type { PhotoData } from './photos'

type Props = { photo: PhotoData; hash?: 'thumbhash' | 'blurhash' } & Omit<ImageProps, 'src' | 'alt' | 'placeholder'>

/** A picture. With Pixgate's loader its sizes and its placeholder come from the service; else its sizes from our data. */
export function Photo({ photo: { src, alt, width, height }, hash, ...props }: Props) {
  if (process.env.EXAMPLE_MODE === 'loader') return <PixgateImage src={src} alt={alt} placeholder={hash ?? 'blur'} {...props} />
  const size = props.fill || props.width ? {} : { width, height }
  return <Image src={src} alt={alt} {...size} {...props} />
}
