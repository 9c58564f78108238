import Image from 'next/image'

import grad from '../public/grad.jpg'

/** Pictures of the app itself: one that the build knows, one by its path. The service fetches them from `sources.base_url`. */
export default function Home() {
  return (
    <>
      <p>Pictures through Pixgate, in the ways that pages use them. This is the build “{process.env.EXAMPLE_MODE}”.</p>
      <Image src={grad} alt="A gradient" placeholder="blur" />
      <Image src="/grad.jpg" alt="The same by its path" width={96} height={64} loading="eager" />
    </>
  )
}
