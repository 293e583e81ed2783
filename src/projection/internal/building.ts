/**
 * The building of a version of an inline projection from the log, beside the one that is read.
 *
 * It catches up in transactions of its own, with a checkpoint and a lease, so that one process does it and another one goes
 * on with it when that one is gone. The rest is done, and the version becomes the one that appends are given to, in one
 * transaction in which nobody else appends.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { EventStore } from "../../store/EventStore.ts"
import type { RecordedEvent } from "../../store/RecordedEvent.ts"
import * as Position from "../../store/Position.ts"
import type { InlineFailed, StoreUnavailable } from "../../store/StoreError.ts"
import { ActiveProjections } from "../ActiveProjections.ts"
import { Consumers, type Lease, LeaseLost } from "../Consumers.ts"
import { ProjectionChanged } from "../ProjectionChanged.ts"
import type { Runnable } from "../Projector.ts"
import * as Names from "./names.ts"
import * as Versions from "./versions.ts"

/**
 * A projection with what is to be done for it.
 */
export interface Made {
  readonly name: string
  readonly projection: Runnable<any>
  readonly setUp: Effect.Effect<unknown, InlineFailed | StoreUnavailable>
  readonly tearDown: Effect.Effect<unknown, InlineFailed | StoreUnavailable>
  readonly publish: Effect.Effect<unknown, InlineFailed | StoreUnavailable>
  readonly apply: (events: ReadonlyArray<RecordedEvent>) => Effect.Effect<unknown, InlineFailed | StoreUnavailable>
}

/**
 * Builds a version of an inline projection and makes it the one that is inline. Comes back when it is, whoever has done it.
 */
export const inline = Effect.fnUntraced(function* (
  { apply, projection, publish, setUp, tearDown }: Made,
  options: {
    readonly holder: string
    readonly duration: Duration.Duration
    readonly previous: "keep" | "drop"
    readonly older: ReadonlyArray<Made>
  }
) {
  const store = yield* EventStore
  const active = yield* ActiveProjections
  const consumers = yield* Consumers
  const { criteria, name, source, version } = projection
  const consumer = Names.inlineConsumerOf(projection)

  const step = (lease: Lease, from: Position.Position) =>
    Effect.gen(function* () {
      const page = yield* store.readPage({ after: from, criteria, category: source.name })
      yield* apply(page.events)
      yield* consumers.advance(lease, from, page.scanned)
      return page
    })

  const holding = Effect.fnUntraced(function* (lease: Lease, start: Position.Position) {
    const inTransaction = <A, E>(effect: Effect.Effect<A, E>) =>
      store.withTransaction(Effect.andThen(consumers.enter(lease), effect))
    yield* active.guard
    if (start === Position.origin) {
      // A Projector may have made this version before, and goes on where it was when it is asked to: nothing of that is left.
      yield* inTransaction(
        Effect.gen(function* () {
          const others = yield* Versions.standings(consumers, projection)
          yield* Versions.forget(
            active,
            consumers,
            others.map(({ consumer }) => consumer)
          )
          yield* tearDown
          yield* setUp
          yield* consumers.advance(lease, start, start)
        })
      )
    } else {
      yield* inTransaction(setUp)
    }
    let position = start
    for (let isEnd = false; !isEnd;) {
      const page = yield* inTransaction(step(lease, position))
      position = page.scanned
      isEnd = page.isEnd
    }
    return yield* inTransaction(
      Effect.gen(function* () {
        yield* active.exclusively
        const before = yield* active.get(name)
        if (before !== undefined && (!before.isInline || before.version > version)) {
          return yield* new ProjectionChanged({
            projection: name,
            version,
            active: before.version,
            issue: before.isInline
              ? `its version ${before.version} has become inline meanwhile, so upgrade this program`
              : `a Projector has begun to run its version ${before.version} meanwhile; give one of them another name`
          })
        }
        if (!(yield* active.activate({ name, version, isInline: true }, before))) {
          return yield* new LeaseLost({ consumer })
        }
        for (let isEnd = false; !isEnd;) {
          const page = yield* step(lease, position)
          position = page.scanned
          isEnd = page.isEnd
        }
        yield* publish
        // From here on appends move it on. Should it ever be built again, then from the start.
        yield* active.forget(consumer)
        return before
      })
    )
  })

  while (true) {
    const found = yield* active.get(name)
    if (found?.isInline === true && found.version === version) {
      return
    }
    const acquired = yield* consumers.acquire(consumer, {
      holder: options.holder,
      duration: options.duration,
      start: Position.origin
    })
    if (acquired._tag === "Paused") {
      return yield* new ProjectionChanged({
        projection: name,
        version,
        active: found?.version,
        issue: "its rebuild was aborted; begin it again with `Rebuild.start`"
      })
    }
    if (acquired._tag === "Busy") {
      yield* Effect.sleep(Math.min(acquired.remaining + 10, 250))
      continue
    }
    const { lease, position } = acquired
    const replaced = yield* holding(lease, position).pipe(
      // Whoever has it now goes on with it.
      Effect.catchTag("LeaseLost", () => Effect.undefined),
      Effect.tapError((error) => Effect.ignore(consumers.note(lease, error.message, false))),
      Effect.ensuring(Effect.ignore(Effect.timeout(consumers.release(lease), "1 second")))
    )
    if (replaced !== undefined && replaced.version !== version && options.previous === "drop") {
      const old = options.older.find((made) => made.projection.version === replaced.version)
      yield* Versions.remove({ active, consumers, store }, replaced, old?.tearDown ?? Effect.void)
    }
  }
})

/**
 * Builds in the background: goes on until it is done, whatever happens, and says what happens.
 */
export const persistently = <E extends { readonly message: string }, R>(
  build: Effect.Effect<void, E, R>
): Effect.Effect<void, never, R> => {
  let said: string | undefined
  const say = (message: string) =>
    Effect.suspend(() => {
      const isNew = message !== said
      said = message
      return isNew ? Effect.logWarning(`A rebuild is held up: ${message}`) : Effect.void
    })
  return build.pipe(
    Effect.tapError((error) => say(error.message)),
    Effect.retry(Schedule.spaced("1 second")),
    Effect.ignore
  )
}
