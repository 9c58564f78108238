// For the server side: server components, `getStaticProps`, `getServerSideProps`, route handlers.

export { configurePixgate, getDetails, getImage, getImages, hasPlaceholder, Pixgate } from './placeholders.js'
export { blurHashDataURL, thumbHashDataURL } from './hash.js'
export { PixgateImage, type PixgateImageProps } from './image.js'
export {
  type GetImageOptions,
  PixgateError,
  type PixgateImageData,
  type PixgateImageDetails,
  type PixgateOptions,
} from './types.js'
export { imageUrl, QUALITIES, snapQuality } from './url.js'
