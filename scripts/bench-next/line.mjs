// A line between the browser and the ingress, below TLS, as narrow and as long as told. All connections share it, so what a
// server sends first arrives first, a new connection costs its round trips, and nothing of it is the browser's doing, whose
// own throttle knows neither.
import { connect, createServer } from 'node:net'

/** Two packets: what a connection may have on the line before another one's turn. */
const CHUNK = 2920
const FREE = { roundTrip: 0, megabits: Infinity }

/** Runs callbacks at their times, which never go down, in their order. */
class Later {
  #waiting = []
  #timer
  at(time, run) {
    this.#waiting.push({ time, run })
    if (this.#waiting.length === 1) this.#wait()
  }
  #wait() {
    this.#timer = setTimeout(() => {
      while (this.#waiting.length > 0 && this.#waiting[0].time <= performance.now() + 0.5) this.#waiting.shift().run()
      if (this.#waiting.length > 0) this.#wait()
    }, this.#waiting[0].time - performance.now())
  }
  stop() {
    clearTimeout(this.#timer)
    this.#waiting = []
  }
}

/** Starts it to the socket at the path `to`, as wide as it gets; `shape` narrows it: `roundTrip` in ms, `megabits` a second from the server. */
export async function startLine(to) {
  let shape = FREE
  /** When all that is on the line has left it. */
  let free = 0
  let connections = 0
  const pairs = new Set()
  const server = createServer({ noDelay: true }, (client) => {
    connections += 1
    const ways = { up: new Later(), down: new Later() }
    // The handshake below us took no time: what it would have taken is waited for before the first byte.
    const open = performance.now() + shape.roundTrip
    const above = connect({
      path: to,
      onread: {
        buffer: Buffer.alloc(CHUNK),
        callback(size, buffer) {
          const bytes = Buffer.from(buffer.subarray(0, size))
          free = Math.max(free, performance.now()) + size / (shape.megabits * 125)
          ways.down.at(free, () => above.resume())
          arrivals.at(free + shape.roundTrip / 2, () => client.write(bytes))
          return false
        },
      },
    })
    const arrivals = new Later()
    const end = () => {
      for (const later of [ways.up, ways.down, arrivals]) later.stop()
      client.destroy()
      above.destroy()
      pairs.delete(end)
    }
    pairs.add(end)
    client.on('data', (bytes) => ways.up.at(Math.max(performance.now(), open) + shape.roundTrip / 2, () => above.write(bytes)))
    client.on('end', () => ways.up.at(Math.max(performance.now(), open) + shape.roundTrip / 2, () => above.end()))
    above.on('end', () => arrivals.at(Math.max(free, performance.now()) + shape.roundTrip / 2, () => client.end()))
    for (const socket of [client, above]) socket.on('error', end).on('close', () => client.destroyed && above.destroyed && end())
  })
  await new Promise((done, fail) => server.once('error', fail).listen(0, '127.0.0.1', done))
  return {
    port: server.address().port,
    shape: (to = FREE) => (shape = to),
    /** How many were opened since it was asked last. */
    connections: () => [connections, (connections = 0)][0],
    stop: () => (pairs.forEach((end) => end()), new Promise((done) => server.close(done))),
  }
}
