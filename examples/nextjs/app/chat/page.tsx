import { Photo } from '../photo'
import { photo } from '../photos'

export const dynamic = 'force-dynamic'

const MESSAGES: (string | number)[] = ['Back from the lake!', 0, 'How was it?', 'Cold. This helped:', 1, 'And who is that?', 6, 'Ours now.', 2, 'What a sky.', 3]

/** Messages, some of them pictures that people sent: nobody knows their sizes beforehand. */
export default function Chat() {
  return (
    <div className="chat">
      {MESSAGES.map((message) => (
        <p key={message}>{typeof message === 'string' ? message : <Photo photo={photo(message)} placeholder="thumbhash" sizes="320px" />}</p>
      ))}
    </div>
  )
}
