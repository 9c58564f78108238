import { Photo } from '../photo'
import { photo } from '../photos'

export const dynamic = 'force-dynamic'

const PEOPLE: [name: string, picture: number][] = [['Ada', 5], ['Grace', 6], ['Edsger', 3], ['Barbara', 4], ['Donald', 1], ['Frances', 2]]

/** Avatars: one fixed size, so that the browser is offered 1x and 2x. */
export default function People() {
  return (
    <ul className="people">
      {PEOPLE.map(([name, picture]) => (
        <li key={name}>
          <Photo photo={{ ...photo(picture), alt: '' }} width={48} height={48} placeholder="blurhash" quality={90} />
          {name}
        </li>
      ))}
    </ul>
  )
}
