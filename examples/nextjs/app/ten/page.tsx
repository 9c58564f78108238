import { Photo } from '../photo'
import { photo, photos } from '../photos'

export const dynamic = 'force-dynamic'

/** Ten pictures, all asked for at once: what `make bench-next` measures. With the loader, EXAMPLE_PLACEHOLDER may be `thumbhash`. */
export default function Ten() {
  const placeholder = process.env.EXAMPLE_PLACEHOLDER === 'thumbhash' ? 'thumbhash' : undefined
  return (
    <>
      <div className="hero">
        <Photo photo={photo(0)} placeholder={placeholder} fill priority sizes="(max-width: 1200px) 100vw, 1168px" />
      </div>
      <div className="grid">
        {photos(1, 9).map((photo) => (
          <Photo key={photo.src} photo={photo} placeholder={placeholder} loading="eager" sizes="(max-width: 600px) 100vw, (max-width: 1200px) 33vw, 379px" />
        ))}
      </div>
    </>
  )
}
