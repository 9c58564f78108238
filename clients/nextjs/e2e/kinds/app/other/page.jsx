// A picture of a host that the app does not allow yet.
import Image from 'next/image'

export default function Other() {
  return <Image src="https://other.example.com/images/retina.jpg" alt="of another host" width={200} height={150} />
}
