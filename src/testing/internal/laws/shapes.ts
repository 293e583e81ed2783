/**
 * The laws of what is stored, for every value and not only for those a walk comes across: whatever was ever stored in one of
 * the shapes that an event schema reads becomes events of today.
 */
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { EventSchema, StoredShape } from "../../../decider/EventSchema.ts"
import { differenceAsData } from "../difference.ts"
import { show } from "../show.ts"
import { guard } from "./guard.ts"
import { Broken } from "./law.ts"
import { withoutClock } from "./poison.ts"
import { asRead } from "./storing.ts"

/** The first shape that breaks the law, with a plain value that does, and the token that finds it again. */
export const check = (
  events: EventSchema<any>,
  options: { readonly runs: number; readonly seed: string | number; readonly replay: string | undefined },
  saw: (law: string) => void
): { readonly broken: Broken; readonly replay: string } | undefined => {
  for (const [index, shape] of events.shapes.entries()) {
    const replay = options.replay === undefined ? undefined : tokenOf(options.replay, index)
    if (options.replay !== undefined && replay === undefined) {
      continue
    }
    let broken: Broken | undefined
    const result = Effect.runSync(
      Arbitrary.checkEffect(
        Arbitrary.schema(shape.schema),
        (value) => {
          saw("shape")
          const found = brokenBy(events, shape, value)
          broken = found ?? broken
          return found === undefined
        },
        { runs: options.runs, seed: options.seed, size: 10, maxShrinks: 500, concurrency: 1, replay }
      )
    )
    if (result._tag === "Falsified" && broken !== undefined) {
      return { broken, replay: `shape ${index} ${result.replay}` }
    }
  }
  return undefined
}

const prefix = /^shape (\d+) (.*)$/s

/** Whether a token is of a shape, and not of a walk. */
export const isToken = (replay: string): boolean => prefix.test(replay)

const tokenOf = (replay: string, index: number): string | undefined => {
  const [, number, token] = prefix.exec(replay) ?? []
  return number === String(index) ? token : undefined
}

const brokenBy = (events: EventSchema<any>, shape: StoredShape, value: unknown): Broken | undefined => {
  const where = `reading ${show(shape.type)} of schema version ${shape.schemaVersion}, ${show(value)}`
  const broken = (issue: string, values?: { readonly expected: unknown; readonly actual: unknown }) =>
    new Broken({ law: "shape", where, issue, ...(values !== undefined && { values }) })

  const data = shape.encode(value)
  if (Result.isFailure(data)) {
    return broken(`it cannot be stored: ${data.failure}`)
  }
  const stored = asRead({ type: shape.type, schemaVersion: shape.schemaVersion, data: data.success })
  const frozen = new WeakSet<object>()
  const read = () => {
    const changes = guard(stored, frozen)
    const { impure, result } = withoutClock(() => events.decode(stored))
    const change = changes()
    return impure !== undefined
      ? broken(`it calls ${impure}`)
      : "thrown" in result
        ? broken(`it throws ${result.thrown instanceof Error ? result.thrown.message : show(result.thrown)}`)
        : change !== undefined
          ? broken(`what is stored was changed: ${change}`)
          : Result.isFailure(result.value)
            ? broken(`it cannot be read: ${result.value.failure.message}`)
            : result.value.success
  }
  const first = read()
  if (first instanceof Broken) {
    return first
  }
  const second = read()
  if (second instanceof Broken) {
    return second
  }
  const issue = differenceAsData(second, first)
  if (issue !== undefined) {
    return broken(`it is read otherwise a second time: ${issue}`, { expected: first, actual: second })
  }
  // What is read is an event of today, which could be stored as one.
  for (const event of first) {
    const again = Result.flatMap(
      Result.mapError(events.encode(event), (reason) => `it becomes ${show(event)}, which does not fit: ${reason}`),
      (encoded) =>
        Result.mapError(events.decode(asRead(encoded)), ({ message }) => `it becomes ${show(event)}, which: ${message}`)
    )
    if (Result.isFailure(again)) {
      return broken(again.failure)
    }
    const difference = differenceAsData(again.success, [event])
    if (difference !== undefined) {
      return broken(`stored again it is another event: ${difference}`, { expected: event, actual: again.success[0] })
    }
  }
  return undefined
}
