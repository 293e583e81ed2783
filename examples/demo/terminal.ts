/**
 * What the demo prints with: colours and a progress line on a terminal, plain lines elsewhere.
 */
import { Effect } from "effect"

const { stdout } = process
const colourful = stdout.isTTY && process.env["NO_COLOR"] === undefined

const colour =
  (code: number) =>
  (text: string): string =>
    colourful ? `\u001b[${code}m${text}\u001b[0m` : text

export const bold = colour(1)
export const dim = colour(2)
export const red = colour(31)
export const green = colour(32)
export const yellow = colour(33)
export const cyan = colour(36)

/** Ends when nobody reads any more, as after `| head -1`. */
export const unread = Effect.callback<void, Error>((resume) => {
  stdout.on("error", (error: NodeJS.ErrnoException) =>
    resume(error.code === "EPIPE" ? Effect.void : Effect.fail(error))
  )
})

export const line = (text = ""): void => {
  clear()
  stdout.write(`${text}\n`)
}

export const number = (value: number): string => Math.round(value).toLocaleString("en-US")

export const money = (cents: number): string =>
  (cents / 100).toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 })

/** Shows how far something is. Off a terminal it prints a line at every quarter. */
export const progress = (done: number, total: number, note: string): void => {
  const share = total === 0 ? 1 : done / total
  if (stdout.isTTY) {
    const filled = Math.round(share * 28)
    stdout.write(`\r\u001b[2K  ${cyan("█".repeat(filled))}${dim("░".repeat(28 - filled))} ${note}`)
    shown = true
  } else if (Math.floor(share * 4) > quarter) {
    quarter = Math.floor(share * 4)
    stdout.write(`  ${String(Math.round(share * 100)).padStart(3)} % ${note}\n`)
  }
}

let shown = false
let quarter = 0

const clear = (): void => {
  if (shown) {
    stdout.write("\r\u001b[2K")
    shown = false
  }
}
