// The shapes that a page, and an app that configures the client, get to see.

/** The six keys of a static import: what `<Image src={...} placeholder="blur">` takes. */
export interface PixgateImageData {
  src: string
  width: number
  height: number
  blurDataURL: string
  blurWidth: number
  blurHeight: number
}

/** All that the service says of a picture, for apps that draw placeholders of their own. */
export interface PixgateImageDetails extends PixgateImageData {
  /** BlurHash; empty when the service could not be asked. */
  blurhash: string
  /** ThumbHash in base64; empty when the service could not be asked. */
  thumbhash: string
  /** `#rrggbb`; `transparent` when the service could not be asked. */
  dominantColor: string
  hasAlpha: boolean
}

/** Why a picture has no placeholder. */
export class PixgateError extends Error {
  /** The service's stable code, or `unreachable`, `timeout`, `paused`, `status`, `unreadable`, `unconfigured`. */
  readonly code: string
  /** HTTP status, where the service answered for this picture. */
  readonly status: number | undefined

  constructor(code: string, message: string, status?: number) {
    super(message)
    this.name = 'PixgateError'
    this.code = code
    this.status = status
  }
}

/** Settings of a client. Each has a default that suits a page. */
export interface PixgateOptions {
  /** Address of the service as this process reaches it. Default: `PIXGATE_URL`, else `NEXT_PUBLIC_PIXGATE_URL`. */
  url?: string
  /** How long a page waits for placeholders. Default: 1000, and 10000 during `next build`, whose pages stay. */
  timeoutMs?: number
  /** How long the service may take once nobody waits; what it says then is there for the next page. Default: 10000. */
  requestTimeoutMs?: number
  /** How long the service is left alone after it could not be reached. Default: 5000. */
  pauseMs?: number
  /** How long an answer is kept. Default: one hour. */
  ttlMs?: number
  /** How long a refusal is kept. Default: 10000. */
  errorTtlMs?: number
  /** Answers kept at most. Default: 1000. */
  maxEntries?: number
  /** Told of every picture that is left without a placeholder. Default: a warning on the console, each kind once a minute. */
  onError?: (error: PixgateError, src: string) => void
}

/** What one call may say. */
export interface GetImageOptions {
  /** Size to assume when the service cannot be asked, and the call has none remembered. */
  width?: number
  height?: number
  /** In place of the client's. */
  timeoutMs?: number
}
