import { Photo } from '../photo'
import { photos } from '../photos'

export const dynamic = 'force-dynamic'

/** Products: each picture fills a square, whatever its shape. */
export default function Shop() {
  return (
    <div className="shop">
      {photos(0, 16).map((photo) => (
        <figure key={photo.src} style={{ margin: 0 }}>
          <div className="shot">
            <Photo photo={photo} fill sizes="(max-width: 600px) 50vw, (max-width: 1200px) 25vw, 280px" quality={50} />
          </div>
          <figcaption>{photo.alt}</figcaption>
        </figure>
      ))}
    </div>
  )
}
