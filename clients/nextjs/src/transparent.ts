// The picture of a picture that has no placeholder: one transparent pixel. `placeholder="blur"` must have something, and
// nothing is to be seen.

import type { PixgateImageData } from './types.js'

export const TRANSPARENT =
  'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAAC0lEQVR42mNgAAIAAAUAAen63NgAAAAASUVORK5CYII='

/** Whether the service's placeholder is in it. Without one, leave `placeholder` out or let it show nothing. */
export function hasPlaceholder(image: PixgateImageData): boolean {
  return image.blurDataURL !== TRANSPARENT
}
