/**
 * What command handlers and decision models tell: a span for each command, and counts of what became of them.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as References from "effect/References"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Tracer from "effect/Tracer"
import { StoreError } from "../StoreError.ts"
import type { StreamId } from "../StreamId.ts"
import { BoundaryTerminated } from "./boundaryDecision.ts"
import { StreamTerminated } from "./decision.ts"
import * as Telemetry from "./telemetry.ts"

/**
 * What became of a command: `refused` by the program itself, that is with an error of the decider or of `prepare`;
 * `terminated` because its stream or boundary had ended; `conflict` because the stream was not as expected, or because others
 * were faster each time; `failed` for what is wrong with the store, or with the program.
 */
type Outcome = "accepted" | "refused" | "terminated" | "conflict" | "failed" | "interrupted"

/**
 * A command on its way, with the span that tells of it.
 */
interface Told {
  readonly request: { readonly span: Tracer.Span | undefined }
}

/**
 * Whose commands they are.
 */
export interface Subject {
  readonly kind: "category" | "decision_model"
  readonly name: string
}

/**
 * - `command`: carries out a command, and tells what became of it.
 * - `turn`: commands are to be decided together, on a state that is known or not.
 * - `lost`: others were faster.
 * - `again`: commands are decided once more.
 */
export interface CommandTelemetry {
  readonly command: <A extends Accepted, E>(
    stream: StreamId | undefined,
    input: unknown,
    commandId: string | undefined,
    execute: (fiber: Telemetry.AnyFiber) => Effect.Effect<A, E>
  ) => Effect.Effect<A, E>
  readonly turn: (fiber: Telemetry.AnyFiber, members: ReadonlyArray<Told>, isKnown: boolean) => void
  readonly lost: (fiber: Telemetry.AnyFiber, members: ReadonlyArray<Told>) => void
  readonly again: (fiber: Telemetry.AnyFiber) => void
}

interface Accepted {
  readonly events: ReadonlyArray<unknown>
  readonly version?: number
}

export const make = (subject: Subject): CommandTelemetry => {
  const { kind, name } = subject
  const counter = (counted: string, description: string, attributes?: Record<string, string>) =>
    Telemetry.counter(`effect_decider_${counted}_total`, description, { [kind]: name, ...attributes })

  const durations = Telemetry.byValue((outcome: Outcome) =>
    Telemetry.durations(
      "effect_decider_command_duration_seconds",
      "How long commands took, from when they were handed in until they were answered, by what became of them.",
      { [kind]: name, outcome }
    )
  )
  const ofAccepted = durations("accepted")
  const refusals = Telemetry.byValue((refusal: string) =>
    counter("refusals", "Commands that the program refused, by the tag of the refusal.", { refusal })
  )
  const coalesced = counter(
    "coalesced_commands",
    "Commands that were decided and appended together with an earlier one."
  )
  const conflicts = counter("conflicts", "Appends that failed because another writer was faster.")
  const retries = counter("retries", "How often commands were decided again after a conflict.")
  const hits = counter("state_cache_hits", "How often the state to decide on was known.")
  const misses = counter("state_cache_misses", "How often the state to decide on had to be loaded.")

  return {
    command: (stream, input, commandId, execute) =>
      Effect.withFiber((fiber) => {
        const start = Telemetry.now(fiber)
        const counted = Telemetry.whenDone(execute(fiber), (exit) => {
          const seconds = Telemetry.secondsSince(start, fiber)
          if (Exit.isSuccess(exit)) {
            ofAccepted.updateUnsafe(seconds, fiber.context)
            return
          }
          const { outcome, refusal } = outcomeOf(exit.cause)
          durations(outcome).updateUnsafe(seconds, fiber.context)
          if (outcome === "refused") {
            refusals(refusal ?? "untagged").updateUnsafe(1, fiber.context)
          }
        })
        return Telemetry.isTraced(fiber) ? inSpan(fiber, subject, stream, input, commandId, counted) : counted
      }),

    turn: ({ context }, members, isKnown) => {
      const cache = isKnown ? hits : misses
      cache.updateUnsafe(1, context)
      if (members.length > 1) {
        coalesced.updateUnsafe(members.length - 1, context)
        // The turn runs in the span of the first one; the others name it.
        const first = members[0]!.request.span
        for (const { request } of members) {
          request.span?.attribute("effect_decider.turn.commands", members.length)
          if (first !== undefined && request.span !== first) {
            request.span?.addLinks([{ span: first, attributes: {} }])
          }
        }
      }
    },

    lost: (fiber, members) => {
      conflicts.updateUnsafe(1, fiber.context)
      const now = wallClock(fiber)
      for (const { request } of members) {
        request.span?.event("effect_decider.conflict", now)
      }
    },

    again: ({ context }) => retries.updateUnsafe(1, context)
  }
}

const inSpan = <A extends Accepted, E>(
  fiber: Telemetry.AnyFiber,
  { kind, name }: Subject,
  stream: StreamId | undefined,
  input: unknown,
  commandId: string | undefined,
  effect: Effect.Effect<A, E>
): Effect.Effect<A, E> =>
  Effect.useSpan(`execute ${name}`, {}, (span) => {
    Telemetry.annotate(span, {
      [`effect_decider.${kind}`]: name,
      "effect_decider.stream": stream,
      "effect_decider.command": Telemetry.tagOf(input),
      "effect_decider.command.id": commandId
    })
    return Telemetry.whenDone(Telemetry.within(effect, span), (exit) => {
      if (Exit.isSuccess(exit)) {
        Telemetry.annotate(span, {
          "effect_decider.outcome": "accepted" satisfies Outcome,
          "effect_decider.version": exit.value.version,
          "effect_decider.events": exit.value.events.length
        })
        return
      }
      const { outcome, refusal } = outcomeOf(exit.cause)
      Telemetry.annotate(span, { "effect_decider.outcome": outcome, "effect_decider.refusal": refusal })
      if (outcome === "refused" || outcome === "terminated") {
        // An answer like another, and no error of the program: the span is ended before its failure can end it.
        span.end(wallClock(fiber), Exit.void)
      } else {
        Telemetry.annotate(span, { "error.type": Telemetry.errorType(exit.cause) })
      }
    })
  })

const wallClock = (fiber: Telemetry.AnyFiber): bigint =>
  fiber.getRef(References.TracerTimingEnabled) ? fiber.getRef(Clock.Clock).currentTimeNanosUnsafe() : 0n

const isStoreError = /*#__PURE__*/ Schema.is(StoreError)

const outcomeOf = (
  cause: Cause.Cause<unknown>
): { readonly outcome: Outcome; readonly refusal?: string | undefined } => {
  if (Cause.hasInterruptsOnly(cause)) {
    return { outcome: "interrupted" }
  }
  const found = Cause.findError(cause)
  if (Result.isFailure(found)) {
    return { outcome: "failed" }
  }
  const error = found.success
  if (error instanceof StreamTerminated || error instanceof BoundaryTerminated) {
    return { outcome: "terminated" }
  }
  if (isStoreError(error)) {
    const isConflict = error._tag === "VersionConflict" || error._tag === "AppendConditionFailed"
    return { outcome: isConflict ? "conflict" : "failed" }
  }
  return { outcome: "refused", refusal: Telemetry.tagOf(error) }
}
