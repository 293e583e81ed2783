/**
 * What is done with a version of a projection as a whole.
 */
import * as Effect from "effect/Effect"
import type { EventStore } from "../../store/EventStore.ts"
import type { ActiveProjections } from "../ActiveProjections.ts"
import type { Consumers, Standing } from "../Consumers.ts"
import { ProjectionChanged } from "../ProjectionChanged.ts"
import type { Runnable } from "../Projector.ts"
import * as Names from "./names.ts"
import * as Partitions from "./partitions.ts"

/**
 * The services that it takes.
 */
export interface Tools {
  readonly store: EventStore["Service"]
  readonly active: ActiveProjections["Service"]
  readonly consumers: Consumers["Service"]
}

/**
 * The consumers of a Projector that make a version, as far as they were ever run.
 */
export const standings = (consumers: Consumers["Service"], { name, version }: Names.Named) =>
  Effect.map(consumers.list(Names.consumerOf({ name, version })), (found): ReadonlyArray<Standing> =>
    found.filter((standing) => {
      const one = Names.ofConsumer(standing.consumer)
      return one.name === name && one.version === version && !Partitions.isDivision(standing)
    })
  )

/**
 * Removes all that was made of a version, in the transaction around it.
 */
export const tearDown = <R>(
  active: ActiveProjections["Service"],
  projection: Runnable<R>
): Effect.Effect<unknown, unknown, R> => {
  if ("handle" in projection) {
    return projection.tearDown ?? Effect.void
  }
  return Effect.gen(function* () {
    while ((yield* active.clear(Names.collectionOf(projection), atOnce)) === atOnce) {}
  })
}

const atOnce = 10_000

/**
 * Has readers read it, in the transaction in which it becomes the one to read.
 */
export const publish = <R>(projection: Runnable<R>): Effect.Effect<unknown, unknown, R> =>
  "handle" in projection ? projection.publish : Effect.void

/**
 * Has readers read it if it is the one to read, in case nobody has done so. In the transaction around it.
 */
export const publishIfRead = Effect.fnUntraced(function* <R>(
  active: ActiveProjections["Service"],
  projection: Runnable<R>
): Effect.fn.Return<void, unknown, R> {
  const found = yield* active.get(projection.name)
  // So that another one does not become it meanwhile, whose readers would be led back.
  if (found?.version === projection.version && (yield* active.activate(found, found))) {
    yield* publish(projection)
  }
})

/**
 * Removes a version that is not the one to read: nothing of it is left, and nobody makes it again unless somebody asks for it.
 * Answers whether there was anything.
 */
export const remove = <E, R>(
  { active, consumers, store }: Tools,
  { name, version }: Names.Named,
  tearDown: Effect.Effect<unknown, E, R>
) =>
  store.withTransaction(
    Effect.gen(function* () {
      const found = yield* active.get(name)
      if (found !== undefined) {
        // So that it does not become another one meanwhile.
        yield* active.activate(found, found)
      }
      const ours = (yield* standings(consumers, { name, version })).map(({ consumer }) => consumer)
      const isAny = yield* forget(active, consumers, [...ours, Names.inlineConsumerOf({ name, version })])
      const now = yield* active.get(name)
      if (now?.version === version) {
        return yield* new ProjectionChanged({
          projection: name,
          version,
          active: version,
          issue: "it is the one that is read; build another version first, and this one can go"
        })
      }
      yield* tearDown
      return isAny
    })
  )

/**
 * Has nobody run consumers any more, nor know how far they were. In a transaction with the removal of what they have made.
 */
export const forget = Effect.fnUntraced(function* (
  active: ActiveProjections["Service"],
  consumers: Consumers["Service"],
  names: ReadonlyArray<string>
) {
  let isAny = false
  for (const consumer of names) {
    if (yield* consumers.setPaused(consumer, true)) {
      yield* active.forget(consumer)
      isAny = true
    }
  }
  return isAny
})
