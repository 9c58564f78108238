import { Photo } from '../photo'
import { photo, photos } from '../photos'

// The origin's address is known when the page is asked for.
export const dynamic = 'force-dynamic'

/** A hero that the page waits for, and a grid most of which is below the fold. */
export default function Gallery() {
  return (
    <>
      <div className="hero">
        <Photo photo={photo(0)} fill priority sizes="(max-width: 1200px) 100vw, 1168px" />
      </div>
      <div className="grid">
        {photos(1, 23).map((photo) => (
          <Photo key={photo.src} photo={photo} sizes="(max-width: 600px) 100vw, (max-width: 1200px) 33vw, 379px" />
        ))}
      </div>
    </>
  )
}
