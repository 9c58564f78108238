import type { ImageProps } from 'next/image.js'
import type { ReactElement } from 'react'

import { getImage, hasPlaceholder } from './client.js'
import { NextImage } from './next-image.js'
import { isInline } from './url.js'

/** The properties of `<Image>`, with `src` as text, and how long to wait for the placeholder. */
export interface PixgateImageProps extends Omit<ImageProps, 'src' | 'loader'> {
  src: string
  timeoutMs?: number
}

/**
 * `<Image>` with its placeholder and, where none are given, its sizes from the service: an async server component.
 *
 * When the service cannot be asked in time, the picture comes without a placeholder. Where neither `fill` nor sizes are
 * given, its height is then the browser's to find out.
 */
export async function PixgateImage({ src, timeoutMs, ...props }: PixgateImageProps): Promise<ReactElement> {
  if (isInline(src)) return <NextImage {...props} src={src} />
  const [width, height] = [pixels(props.width), pixels(props.height)]
  const assumed = width && height ? { width, height } : {}
  const image = await getImage(src, timeoutMs === undefined ? assumed : { ...assumed, timeoutMs })
  if (hasPlaceholder(image)) return <NextImage placeholder="blur" {...props} src={image} />
  const { placeholder, style, ...rest } = props
  // What the app gave itself still holds.
  const own = placeholder && (placeholder !== 'blur' || props.blurDataURL) ? { placeholder } : {}
  const sized = props.fill || (width && height)
  const shape = sized ? style : { maxWidth: '100%', height: 'auto', ...style }
  return <NextImage {...rest} {...own} {...(shape && { style: shape })} src={image} />
}

function pixels(size: number | `${number}` | undefined): number | undefined {
  const number = Number(size)
  return number > 0 ? number : undefined
}
