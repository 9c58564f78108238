// What a browser's bundle gets in place of the package: what is pure works, and what needs the server says so when it is
// used. Otherwise bundlers would put node:http in place for the browser, which asks an address that it cannot reach.

import { outOfPlace } from './misplaced.js'

export { PixgateError } from './types.js'
export { hasPlaceholder } from './transparent.js'
export { imageUrl, QUALITIES, snapQuality } from './url.js'

function serverOnly(name: string) {
  return (): never => {
    throw outOfPlace(name)
  }
}

export const PixgateImage = serverOnly('<PixgateImage>')
export const configurePixgate = serverOnly('configurePixgate()')
export const getDetails = serverOnly('getDetails()')
export const getImage = serverOnly('getImage()')
export const getImages = serverOnly('getImages()')
export const blurHashDataURL = serverOnly('blurHashDataURL()')
export const signUrl = serverOnly('signUrl()')
export const thumbHashDataURL = serverOnly('thumbHashDataURL()')

export class Pixgate {
  constructor() {
    throw outOfPlace('Pixgate')
  }
}
