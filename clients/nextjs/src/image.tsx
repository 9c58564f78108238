// `<PixgateImage>`: `<Image>` whose placeholder and sizes the service knows.

import type { ImageProps } from 'next/image.js'
import type { ReactElement } from 'react'

import { getDetails, hasPlaceholder } from './placeholders.js'
import { blurHashDataURL, thumbHashDataURL } from './hash.js'
import { NextImage } from './next-image.js'
import type { PixgateImageDetails } from './types.js'
import { isInline } from './url.js'

/** The properties of `<Image>`, with `src` as text. */
export interface PixgateImageProps extends Omit<ImageProps, 'src' | 'loader' | 'placeholder'> {
  src: string
  /** `blur` (default), as Next.js draws it; the picture that a ThumbHash or a BlurHash stands for; or what `<Image>` takes. */
  placeholder?: 'thumbhash' | 'blurhash' | NonNullable<ImageProps['placeholder']>
  /** How long to wait for the placeholder. */
  timeoutMs?: number
}

type Placeholder = NonNullable<ImageProps['placeholder']>

/**
 * `<Image>` with its placeholder and, where none are given, its sizes from the service: an async server component.
 *
 * When the service cannot be asked in time, the picture comes without a placeholder. Where neither `fill` nor sizes are
 * given, its height is then the browser's to find out.
 */
export async function PixgateImage({ src, timeoutMs, placeholder = 'blur', ...props }: PixgateImageProps): Promise<ReactElement> {
  const hashed = placeholder === 'thumbhash' || placeholder === 'blurhash'
  if (isInline(src)) {
    const own = hashed || (placeholder === 'blur' && !props.blurDataURL) ? {} : { placeholder }
    return <NextImage {...props} {...own} src={src} />
  }
  const [width, height] = [pixels(props.width), pixels(props.height)]
  const assumed = width && height ? { width, height } : {}
  const details = await getDetails(src, timeoutMs === undefined ? assumed : { ...assumed, timeoutMs })
  // Six keys and no more: they are written into the page for the browser.
  const { blurDataURL, blurWidth, blurHeight } = details
  const image = { src, width: details.width, height: details.height, blurDataURL, blurWidth, blurHeight }
  if (hasPlaceholder(image)) {
    return <NextImage {...props} placeholder={hashed ? (ofHash(placeholder, details) ?? 'blur') : placeholder} src={image} />
  }
  const { style, ...rest } = props
  // What the app gave itself still holds.
  const own = !hashed && (placeholder !== 'blur' || props.blurDataURL) ? { placeholder } : {}
  const sized = props.fill || (width && height)
  const shape = sized ? style : { maxWidth: '100%', height: 'auto', ...style }
  return <NextImage {...rest} {...own} {...(shape && { style: shape })} src={image} />
}

function ofHash(kind: 'thumbhash' | 'blurhash', { thumbhash, blurhash, width, height }: PixgateImageDetails): Placeholder | undefined {
  return (kind === 'thumbhash' ? thumbHashDataURL(thumbhash) : blurHashDataURL(blurhash, width, height)) as Placeholder | undefined
}

function pixels(size: number | `${number}` | undefined): number | undefined {
  const number = Number(size)
  return number > 0 ? number : undefined
}
