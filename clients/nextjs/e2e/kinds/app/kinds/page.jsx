// Every kind of picture that `next/image` is used for, on one page; the README's steps make the app around it. Eager are
// those that development would advise to be.
import Image, { getImageProps } from 'next/image'

import imported from './imported.jpg'
import importedGif from './imported.gif'
import importedSvg from './imported.svg'
import importedWebp from './imported.webp'

const INLINE =
  'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAQAAAAECAIAAAAmkwkpAAAAEElEQVR42mM4YaMBRwzEcQDxwxLBtO2pWAAAAABJRU5ErkJggg=='

/** For CSS, as Next.js's documentation has it. */
function background(srcSet) {
  return `image-set(${srcSet.split(', ').map((part) => part.replace(/^(\S+) (\S+)$/, 'url("$1") $2')).join(', ')})`
}

export default function Kinds() {
  const { props: own } = getImageProps({ src: '/hero.jpg', alt: 'getImageProps', width: 128, height: 96 })
  const { props: behind } = getImageProps({ src: 'https://photos.example.com/images/dusk.jpg', alt: '', width: 320, height: 200 })
  const { props: wide } = getImageProps({ src: '/wide.png', alt: '', width: 640, height: 160, sizes: '50vw' })
  const { props: narrow } = getImageProps({ src: imported, alt: 'art direction', sizes: '50vw' })
  return (
    <main>
      <Image id="hero" src="/hero.jpg" alt="a file of public" width={256} height={192} priority />
      <Image loading="eager" src={imported} alt="a static import" placeholder="blur" sizes="200px" />
      <Image loading="eager" src={importedWebp} alt="a static import of WebP" width={120} />
      <Image loading="eager" src={importedGif} alt="a static import of an animation" />
      <Image loading="eager" src={importedSvg} alt="a static import of SVG" width={64} height={64} />
      <Image loading="eager" src="https://photos.example.com/images/retina.jpg" alt="remote" width={200} height={150} />
      <Image loading="eager" src="https://photos.example.com/images/animated.gif" alt="a remote animation" width={64} height={64} />
      <Image loading="eager" src="/animated.gif" alt="an animation of public" width={64} height={64} />
      <Image loading="eager" src="/plain.svg" alt="SVG of public" width={64} height={64} />
      <Image loading="eager" src="https://photos.example.com/images/plain.svg" alt="remote SVG" width={64} height={64} />
      <Image loading="eager" src={INLINE} alt="a data URL" width={32} height={32} />
      <img {...own} />
      <picture>
        <source media="(min-width: 3000px)" srcSet={wide.srcSet} />
        <img {...narrow} style={{ width: 100, height: 'auto' }} />
      </picture>
      <div id="behind" style={{ width: 320, height: 200, backgroundImage: background(behind.srcSet) }} />
      <div style={{ position: 'relative', width: 300, height: 100 }}>
        <Image src="/wide.png" alt="fill" fill sizes="300px" />
      </div>
    </main>
  )
}
