// `<PixgateImage>`: `<Image>` whose placeholder and sizes the service knows.

import type { ImageProps } from 'next/image.js'
import type { ReactElement } from 'react'

import { blurredDataURL } from './blur.js'
import { blurHashDataURL, thumbHashDataURL } from './hash.js'
import { getDetails, hasPlaceholder } from './placeholders.js'
import { NextImage } from './next-image.js'
import type { PixgateImageDetails } from './types.js'
import { isInline } from './url.js'

/** The properties of `<Image>`, with `src` as text. */
export interface PixgateImageProps extends Omit<ImageProps, 'src' | 'loader' | 'placeholder'> {
  src: string
  /**
   * `blur` (default), which looks as Next.js draws it but costs the browser next to nothing, or with a `blurDataURL` of the
   * app's own is Next.js's; the picture that a ThumbHash or a BlurHash stands for; or what `<Image>` takes.
   */
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
  const drawn = placeholder === 'thumbhash' || placeholder === 'blurhash' || (placeholder === 'blur' && !props.blurDataURL)
  const [width, height] = [pixels(props.width), pixels(props.height)]
  const sized = props.fill || (width && height)
  // Nothing that the service would know is missing, or it cannot know.
  if (isInline(src) || (sized && !drawn)) return <NextImage {...props} {...(!drawn && { placeholder })} src={src} />
  const assumed = width && height ? { width, height } : {}
  const details = await getDetails(src, timeoutMs === undefined ? assumed : { ...assumed, timeoutMs })
  // No key more than is needed: they are written into the page for the browser.
  const image = { src, width: details.width, height: details.height }
  if (hasPlaceholder(details)) {
    const picture = drawn ? pictureOf(placeholder, details) : undefined
    if (picture) return <NextImage {...props} placeholder={picture} src={image} />
    const { blurDataURL, blurWidth, blurHeight } = details
    return <NextImage {...props} placeholder={drawn ? 'blur' : placeholder} src={{ ...image, blurDataURL, blurWidth, blurHeight }} />
  }
  const { style, ...rest } = props
  const shape = sized ? style : { maxWidth: '100%', height: 'auto', ...style }
  // What the app gave itself still holds.
  return <NextImage {...rest} {...(!drawn && { placeholder })} {...(shape && { style: shape })} src={image} />
}

function pictureOf(kind: 'blur' | 'thumbhash' | 'blurhash', details: PixgateImageDetails): Placeholder | undefined {
  const { blurDataURL, thumbhash, blurhash, width, height } = details
  const pictures = {
    blur: () => blurredDataURL(blurDataURL),
    thumbhash: () => thumbHashDataURL(thumbhash),
    blurhash: () => blurHashDataURL(blurhash, width, height),
  }
  return pictures[kind]() as Placeholder | undefined
}

function pixels(size: number | `${number}` | undefined): number | undefined {
  const number = Number(size)
  return number > 0 ? number : undefined
}
