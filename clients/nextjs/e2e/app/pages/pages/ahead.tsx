import { getImages, type PixgateImageData } from '@pixgate/next'
import type { GetStaticProps } from 'next'
import Image from 'next/image'

interface Props {
  images: PixgateImageData[]
}

export const getStaticProps: GetStaticProps<Props> = async () => {
  const images = await getImages(['lake.jpg', 'coffee.jpg'].map((name) => `${process.env.ORIGIN_URL}/images/${name}`))
  return { props: { images } }
}

export default function Ahead({ images }: Props) {
  return (
    <>
      {images.map((image) => (
        <Image key={image.src} src={image} alt="" placeholder="blur" sizes="400px" style={{ width: 400, height: 'auto' }} />
      ))}
    </>
  )
}
