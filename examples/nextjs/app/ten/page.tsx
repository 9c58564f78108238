import { Photo } from '../photo'
import { photo, photos } from '../photos'

export const dynamic = 'force-dynamic'

/** Ten pictures, all asked for at once: what `make bench-next` measures. With the loader, EXAMPLE_HASH has other placeholders. */
export default function Ten() {
  const hash = process.env.EXAMPLE_HASH === 'thumbhash' ? 'thumbhash' : undefined
  return (
    <>
      <div className="hero">
        <Photo photo={photo(0)} hash={hash} fill priority sizes="(max-width: 1200px) 100vw, 1168px" />
      </div>
      <div className="grid">
        {photos(1, 9).map((photo) => (
          <Photo key={photo.src} photo={photo} hash={hash} loading="eager" sizes="(max-width: 600px) 100vw, (max-width: 1200px) 33vw, 379px" />
        ))}
      </div>
    </>
  )
}
