/**
 * Processes that work when they are told to.
 */
import { Effect } from "effect"
import { type ChildProcess, fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import { CannotRun, type Measured } from "./measure.ts"
import type { Assignment, Turn } from "./worker.ts"

/** A process with an assignment. It ends with the scope, or with this process. */
export const worker = Effect.fnUntraced(function* (assignment: Assignment) {
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      fork(fileURLToPath(new URL("worker.ts", import.meta.url)), [JSON.stringify(assignment)], {
        execArgv: process.execArgv,
        serialization: "advanced"
      })
    ),
    (child) => Effect.sync(() => void child.kill())
  )
  yield* answer(child)
  return (turn: Turn) =>
    Effect.andThen(
      Effect.sync(() => child.send(turn)),
      answer(child)
    )
})

const answer = (child: ChildProcess): Effect.Effect<Measured, CannotRun> =>
  Effect.callback((resume) => {
    const onMessage = (message: unknown) => {
      child.off("exit", onExit)
      resume(Effect.succeed(message as Measured))
    }
    const onExit = (code: number | null) => {
      child.off("message", onMessage)
      resume(Effect.fail(new CannotRun({ message: `A worker process ended with code ${code}.` })))
    }
    child.once("message", onMessage)
    child.once("exit", onExit)
  })
