import { PixgateImage } from '@pixgate/next'
import Image, { type ImageProps } from 'next/image'

import type { PhotoData } from './photos'

type Props = { photo: PhotoData; placeholder?: 'thumbhash' | 'blurhash' | 'blur' } & Omit<ImageProps, 'src' | 'alt' | 'placeholder'>

const BY_LOADER = ['loader', 'own'].includes(process.env.EXAMPLE_MODE ?? '')

/** A picture. With Pixgate's loader its sizes and its placeholder come from the service; else what our data has of them. */
export function Photo({ photo: { src, alt, width, height, blurDataURL }, placeholder, ...props }: Props) {
  if (BY_LOADER) return <PixgateImage src={src} alt={alt} {...(placeholder && { placeholder })} {...props} />
  const size = props.fill || props.width ? {} : { width, height }
  return <Image src={src} alt={alt} {...(blurDataURL && { blurDataURL, placeholder: 'blur' })} {...size} {...props} />
}
