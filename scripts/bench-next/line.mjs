// The line between the browser and the ingress: examples/line.rs, which LINE_BIN names.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

/** Starts it to a port of this machine, as wide as it gets. */
export async function startLine(to) {
  const child = spawn(process.env.LINE_BIN ?? 'target/release/examples/line', [`127.0.0.1:${to}`], { stdio: ['pipe', 'pipe', 'inherit'] })
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const answer = async () => {
    const { value, done } = await answers.next()
    if (done) throw new Error('the line has ended')
    return Number(value)
  }
  return {
    port: await answer(),
    /** Makes it narrow: `roundTrip` in ms, `megabits` a second from the server; or wide. Says how many connections were opened since it was asked last. */
    shape: (shape) => (child.stdin.write(shape ? `shape ${shape.roundTrip} ${shape.megabits}\n` : 'free\n'), answer()),
    stop: () => (child.stdin.end(), once(child, 'close')),
  }
}
