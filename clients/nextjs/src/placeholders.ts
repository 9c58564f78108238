// Placeholders for a page: asked for together, remembered, and never in the way. A picture that cannot be had in time
// gets an object that `<Image>` takes all the same.
// Its name is not client.js: Next.js 14 takes any .../next/dist/client.js for its own, wherever it is.

import { Memory } from './memory.js'
import { type Answer, askService, MAX_URLS } from './service.js'
import { TRANSPARENT } from './transparent.js'
import { type GetImageOptions, PixgateError, type PixgateImageData, type PixgateImageDetails, type PixgateOptions } from './types.js'
import { isLeftAlone, trimBase } from './url.js'

/** Assumed of a picture of which nothing is known and nothing was said. */
const ASSUMED = { width: 1200, height: 800 }

/** Requests to the service at once. */
const MAX_REQUESTS = 4

/** In development pictures are edited: long enough for the pictures of one page, and no longer. */
const DEVELOPMENT_TTL_MS = 1000

const WARNING_INTERVAL_MS = 60_000

/** A client with settings of its own. An app needs one; `getImage` and `getImages` use the default one. */
export class Pixgate {
  readonly #options: PixgateOptions
  readonly #memory: Memory<Answer>
  /** What is being asked for, so that two pages do not ask for the same. */
  readonly #pending = new Map<string, Promise<Answer>>()
  /** What is to be asked for at the end of this turn of the event loop. */
  #queue: { src: string; settle: (answer: Answer) => void }[] = []
  #scheduled = false
  #running = 0
  readonly #waiting: (() => void)[] = []
  #pausedUntil = 0
  readonly #warned = new Map<string, number>()

  constructor(options: PixgateOptions = {}) {
    this.#options = options
    this.#memory = new Memory(options.maxEntries ?? 1000)
  }

  /** The object that `<Image src={...} placeholder="blur">` takes. Never rejects, and never takes longer than the timeout. */
  readonly getImage = async (src: string, options: GetImageOptions = {}): Promise<PixgateImageData> => {
    const { width, height, blurDataURL, blurWidth, blurHeight } = await this.getDetails(src, options)
    // Six keys and no more: they are written into the page for the browser.
    return { src, width, height, blurDataURL, blurWidth, blurHeight }
  }

  /** The same for many, in order. */
  readonly getImages = (srcs: readonly string[], options: GetImageOptions = {}): Promise<PixgateImageData[]> =>
    Promise.all(srcs.map((src) => this.getImage(src, options)))

  /** The same with BlurHash, ThumbHash and dominant colour. */
  readonly getDetails = async (src: string, options: GetImageOptions = {}): Promise<PixgateImageDetails> => {
    if (isLeftAlone(src)) return fallback(src, options)
    const known = this.#memory.get(src, performance.now())
    if (known?.fresh) return known.value instanceof PixgateError ? fallback(src, options) : known.value
    const answer = await this.#within(this.#ask(src), options.timeoutMs ?? this.#timeoutMs())
    if (!(answer instanceof PixgateError)) return answer
    this.#report(answer, src)
    if (known && !(known.value instanceof PixgateError)) return known.value
    return fallback(src, options)
  }

  #timeoutMs(): number {
    return this.#options.timeoutMs ?? (process.env.NEXT_PHASE === 'phase-production-build' ? 10_000 : 1000)
  }

  /** Waits so long and no longer; what is waited for goes on, and is remembered. */
  async #within(asked: Promise<Answer>, timeoutMs: number): Promise<Answer> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<Answer>((resolve) => {
      timer = setTimeout(() => resolve(new PixgateError('timeout', `no answer within ${timeoutMs} ms`)), timeoutMs)
    })
    const answer = await Promise.race([asked, late])
    clearTimeout(timer)
    return answer
  }

  #ask(src: string): Promise<Answer> {
    const pending = this.#pending.get(src)
    if (pending) return pending
    if (performance.now() < this.#pausedUntil) {
      return Promise.resolve(new PixgateError('paused', 'the service could not be reached a moment ago'))
    }
    const asked = new Promise<Answer>((settle) => this.#queue.push({ src, settle }))
    this.#pending.set(src, asked)
    if (!this.#scheduled) {
      this.#scheduled = true
      // After everything that this turn brings up, promises included: the pictures of a page come in one request.
      setImmediate(() => this.#flush())
    }
    return asked
  }

  #flush(): void {
    const queue = this.#queue
    this.#queue = []
    this.#scheduled = false
    for (let at = 0; at < queue.length; at += MAX_URLS) {
      void this.#send(queue.slice(at, at + MAX_URLS))
    }
  }

  async #send(chunk: { src: string; settle: (answer: Answer) => void }[]): Promise<void> {
    // A place is handed on to the one that waits longest, so that nobody new slips in between.
    if (this.#running >= MAX_REQUESTS) await new Promise<void>((go) => this.#waiting.push(go))
    else this.#running += 1
    const answers = await this.#answers(chunk.map(({ src }) => src))
    const next = this.#waiting.shift()
    if (next) next()
    else this.#running -= 1
    const now = performance.now()
    chunk.forEach(({ src, settle }, place) => {
      const answer = answers[place] ?? new PixgateError('unreadable', 'the service left this picture out')
      this.#pending.delete(src)
      if (!(answer instanceof PixgateError)) {
        this.#memory.set(src, answer, now + (this.#options.ttlMs ?? (process.env.NODE_ENV === 'development' ? DEVELOPMENT_TTL_MS : 3_600_000)))
      } else if (answer.status !== undefined && this.#memory.get(src, now) === undefined) {
        // Said of this very picture. One that was good before stays: a stale placeholder is better than none.
        this.#memory.set(src, answer, now + (this.#options.errorTtlMs ?? 10_000))
      }
      settle(answer)
    })
  }

  async #answers(urls: string[]): Promise<Answer[]> {
    const base = this.#options.url ?? process.env.PIXGATE_URL ?? process.env.NEXT_PUBLIC_PIXGATE_URL
    try {
      if (!base) {
        throw new PixgateError('unconfigured', 'neither PIXGATE_URL nor NEXT_PUBLIC_PIXGATE_URL is set')
      }
      return await askService(trimBase(base), urls, this.#options.requestTimeoutMs ?? 10_000)
    } catch (error) {
      const known =
        error instanceof PixgateError ? error : new PixgateError('unreachable', error instanceof Error ? error.message : String(error))
      this.#pausedUntil = performance.now() + (this.#options.pauseMs ?? 5000)
      // Said of the service, not of a picture: without the status, nobody takes it for the picture's.
      return urls.map(() => new PixgateError(known.code, known.message))
    }
  }

  #report(error: PixgateError, src: string): void {
    if (this.#options.onError) {
      try {
        this.#options.onError(error, src)
      } catch (thrown) {
        // No page fails for a placeholder.
        console.warn('@pixgate/next: onError threw', thrown)
      }
      return
    }
    const now = performance.now()
    if (now - (this.#warned.get(error.code) ?? -Infinity) < WARNING_INTERVAL_MS) return
    this.#warned.set(error.code, now)
    console.warn(`@pixgate/next: no placeholder for ${src.slice(0, 200)}: ${error.message} (${error.code})`)
  }
}

/** With `fill`, or with both sizes on `<Image>`, its sizes are not looked at; with one, their ratio is. */
function fallback(src: string, { width, height }: GetImageOptions): PixgateImageDetails {
  const size = width && height ? { width, height } : ASSUMED
  const hashes = { blurhash: '', thumbhash: '', dominantColor: 'transparent', hasAlpha: true }
  return { src, ...size, blurDataURL: TRANSPARENT, blurWidth: 1, blurHeight: 1, ...hashes }
}

// One for the process: bundlers may put this module into several chunks, and development loads it anew at every change.
const PLACE = Symbol.for('@pixgate/next')

function shared(): Pixgate {
  const place = globalThis as { [PLACE]?: Pixgate }
  return (place[PLACE] ??= new Pixgate())
}

/** Has `getImage`, `getImages`, `getDetails` and `<PixgateImage>` use these settings. Call it in `instrumentation.ts`. */
export function configurePixgate(options: PixgateOptions): void {
  ;(globalThis as { [PLACE]?: Pixgate })[PLACE] = new Pixgate(options)
}

/** The object that `<Image src={...} placeholder="blur">` takes. Never rejects, and never takes longer than the timeout. */
export const getImage: Pixgate['getImage'] = (src, options) => shared().getImage(src, options)

/** The same for many pictures, in order; they share requests. */
export const getImages: Pixgate['getImages'] = (srcs, options) => shared().getImages(srcs, options)

/** The same with BlurHash, ThumbHash and dominant colour, for placeholders that the app draws itself. */
export const getDetails: Pixgate['getDetails'] = (src, options) => shared().getDetails(src, options)
