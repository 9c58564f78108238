// What is said to client components and to pages of the Pages Router that use what only the server side has.

/** An error that says what to use instead. */
export function outOfPlace(name: string): Error {
  return new Error(
    `@pixgate/next: ${name} works in server components only, not in client components ('use client') and not in pages of the Pages Router. ` +
      "There use <Image> of next/image, which comes from Pixgate too, with the object that getImage() or getImages() gave in a server component above, in getStaticProps or in getServerSideProps. For an image's URL there is imageUrl() of @pixgate/next/url.",
  )
}
