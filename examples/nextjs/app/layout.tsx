import type { Metadata } from 'next'
import Link from 'next/link'
import type { ReactNode } from 'react'
import './style.css'

export const metadata: Metadata = { title: 'Pixgate and Next.js' }

const PAGES = { gallery: 'Gallery', people: 'People', chat: 'Chat', shop: 'Shop', plain: 'Plain HTML' }

export default function Layout({ children }: { children: ReactNode }) {
  return (
    <html lang="en">
      <body>
        <nav>
          {Object.entries(PAGES).map(([path, name]) => (
            <Link key={path} href={`/${path}`} prefetch={false}>
              {name}
            </Link>
          ))}
        </nav>
        <main>{children}</main>
      </body>
    </html>
  )
}
