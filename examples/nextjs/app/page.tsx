export default function Home() {
  return <p>Pictures through Pixgate, in the ways that pages use them. This is the build “{process.env.EXAMPLE_MODE}”.</p>
}
