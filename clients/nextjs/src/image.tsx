// `<PixgateImage>`: `<Image>` whose placeholder and sizes the service knows.

import type { ImageProps } from 'next/image.js'
import type { ReactElement } from 'react'

import { blurredDataURL } from './blur.js'
import { blurHashDataURL, thumbHashDataURL } from './hash.js'
import { NextImage } from './next-image.js'
import { getDetails } from './placeholders.js'
import { hasPlaceholder } from './transparent.js'
import type { PixgateImageDetails } from './types.js'
import { isInline, isVector } from './url.js'

/** The properties of `<Image>`. */
export interface PixgateImageProps extends Omit<ImageProps, 'loader' | 'placeholder'> {
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
  if (typeof src !== 'string') return imported(src, placeholder, props)
  const drawn = placeholder === 'thumbhash' || placeholder === 'blurhash' || (placeholder === 'blur' && !props.blurDataURL)
  const [width, height] = [pixels(props.width), pixels(props.height)]
  const sized = props.fill || (width && height)
  // SVG goes to the browser as it is, at one size for all.
  const whole = isVector(src) ? { unoptimized: true } : {}
  // Nothing that the service would know is missing, or it cannot know.
  if (sized && (isInline(src) || isVector(src) || !drawn)) return <NextImage {...props} {...(!drawn && { placeholder })} {...whole} src={src} />
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
  return <NextImage {...rest} {...(!drawn && { placeholder })} {...(shape && { style: shape })} {...whole} src={image} />
}

type Rest = Omit<PixgateImageProps, 'src' | 'timeoutMs' | 'placeholder'>

/** A static import is `<Image>`'s: the build has its sizes and its placeholder, and of some formats none. */
function imported(src: Exclude<ImageProps['src'], string>, placeholder: NonNullable<PixgateImageProps['placeholder']>, props: Rest): ReactElement {
  const data = src && 'default' in src ? src.default : src
  const known = Boolean(props.blurDataURL ?? data?.blurDataURL)
  if (!['blur', 'thumbhash', 'blurhash'].includes(placeholder)) return <NextImage {...props} placeholder={placeholder as Placeholder} src={src} />
  return <NextImage {...props} {...(known && { placeholder: 'blur' })} src={src} />
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
