// For the server side outside of server components: `getStaticProps`, `getServerSideProps`, scripts, and what client
// components are rendered to on the server, where `<PixgateImage>` is out of place.

import type { ReactElement } from 'react'

import type { PixgateImageProps } from './image.js'
import { outOfPlace } from './misplaced.js'

export { configurePixgate, getDetails, getImage, getImages, Pixgate } from './placeholders.js'
export { hasPlaceholder } from './transparent.js'
export { blurHashDataURL, thumbHashDataURL } from './hash.js'
export type { PixgateImageProps } from './image.js'
export { signUrl, type SignOptions } from './sign.js'
export {
  type GetImageOptions,
  PixgateError,
  type PixgateImageData,
  type PixgateImageDetails,
  type PixgateOptions,
} from './types.js'
export { imageUrl, QUALITIES, snapQuality } from './url.js'

/** Says what to use in its place. */
export function PixgateImage(_props: PixgateImageProps): Promise<ReactElement> {
  throw outOfPlace('<PixgateImage>')
}
