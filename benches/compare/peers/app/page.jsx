// One page, so that there is something to build; the bench asks for /_next/image alone.
export default function Page() {
  return <p>Pictures are at /_next/image.</p>
}
