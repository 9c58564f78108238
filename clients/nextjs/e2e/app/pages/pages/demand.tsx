import { getImage, type PixgateImageData } from '@pixgate/next'
import type { GetServerSideProps } from 'next'
import Image from 'next/image'

interface Props {
  images: PixgateImageData[]
}

export const getServerSideProps: GetServerSideProps<Props> = async () => {
  const images = await Promise.all(['dusk.jpg', 'astronaut.jpg'].map((name) => getImage(`${process.env.ORIGIN_URL}/images/${name}`)))
  return { props: { images } }
}

export default function Demand({ images }: Props) {
  return (
    <>
      {images.map((image) => (
        <Image key={image.src} src={image} alt="" placeholder="blur" width={300} />
      ))}
    </>
  )
}
