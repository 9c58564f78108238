import { getImages, PixgateImage } from '@pixgate/next'
import Image from 'next/image'

import { Direct } from './direct'

const at = (name: string) => `${process.env.ORIGIN_URL}/images/${name}`

/** The package's every form, for the App Router: one tag with each placeholder, `getImages`, and a client component. */
export async function Pictures() {
  const [coffee, dusk] = await getImages([at('coffee.jpg'), at('dusk.jpg')])
  return (
    <>
      <PixgateImage src={at('lake.jpg')} alt="A lake" priority sizes="100vw" style={{ width: '100%', height: 'auto' }} />
      <PixgateImage src={at('cat.webp')} alt="A cat" width={300} height={200} placeholder="thumbhash" />
      <PixgateImage src={at('hubble.jpg')} alt="Galaxies" width={200} height={174} placeholder="blurhash" />
      <Image src={coffee!} alt="Coffee" placeholder="blur" width={300} />
      <div style={{ position: 'relative', width: 200, height: 300 }}>
        <Image src={dusk!} alt="Dusk" placeholder="blur" fill sizes="200px" />
      </div>
      <Direct src={at('retina.jpg')} />
    </>
  )
}
