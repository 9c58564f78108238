import Image from 'next/image'

import grad from '../public/grad.jpg'

const WAYS = { '': 'Next.js’s own optimizer', '/ingress': 'an ingress rule', '/path': 'images.path', '/loader': 'the loader, with placeholders', '/own': 'the same on this host' }

/** Pictures of the app itself: one that the build knows, one by its path. The service fetches them from `sources.base_url`. */
export default function Home() {
  return (
    <>
      <p>Pictures through Pixgate, in the ways that pages use them. This is the build “{process.env.EXAMPLE_MODE}”.</p>
      <p>
        The same gallery by{' '}
        {Object.entries(WAYS).map(([base, name]) => (
          <span key={base}>
            {/* Another build: not a navigation within this one. */}
            <a href={`${base}/gallery`}>{name}</a>{' · '}
          </span>
        ))}
      </p>
      <Image src={grad} alt="A gradient" placeholder="blur" />
      <Image src={`${process.env.EXAMPLE_BASE ?? ''}/grad.jpg`} alt="The same by its path" width={96} height={64} loading="eager" />
    </>
  )
}
