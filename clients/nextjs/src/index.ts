// For server components, and whatever else bundlers build for the `react-server` condition.

export * from './server.js'
export { PixgateImage } from './image.js'
