/**
 * A store that tells what it does: a span and a duration for each thing that is asked of it.
 *
 * It is the one place where stores are observed. What is refused before a store sees it is not told.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Primitives, StoreSystem } from "../EventStore.ts"
import * as StreamId from "../StreamId.ts"
import * as Telemetry from "./telemetry.ts"

/**
 * The same store, observed. One that does not say what it is stays as it is.
 */
export const make = (primitives: Primitives): Primitives =>
  primitives.system === undefined ? primitives : observed(primitives, primitives.system)

const observed = (primitives: Primitives, system: StoreSystem): Primitives => {
  const { attributes, kind } = Telemetry.ofSystem(system)

  // `target` says what the operation works on, `found` what came of it.
  const observe = (operation: string) => {
    const durations = Telemetry.byValue((error: string) =>
      Telemetry.durations(
        "effect_decider_operation_duration_seconds",
        "How long the store took for what was asked of it.",
        { store: system.name, operation, ...(error === "" ? undefined : { error }) }
      )
    )
    const ofSuccess = durations("")
    const measured = <A, E>(effect: Effect.Effect<A, E>, fiber: Telemetry.AnyFiber): Effect.Effect<A, E> => {
      const start = Telemetry.now(fiber)
      return Telemetry.whenDone(effect, (exit) => {
        const error = Exit.isSuccess(exit) ? "" : Telemetry.errorType(exit.cause)
        // How long somebody waited who gave up says nothing about the store.
        if (error !== undefined) {
          const duration = error === "" ? ofSuccess : durations(error)
          duration.updateUnsafe(Telemetry.secondsSince(start, fiber), fiber.context)
        }
      })
    }
    return <A, E>(
      effect: Effect.Effect<A, E>,
      target: () => { readonly category?: string | undefined; readonly attributes?: Telemetry.Attributes },
      found?: (value: A) => Telemetry.Attributes
    ): Effect.Effect<A, E> =>
      Effect.withFiber((fiber) => {
        const timed = system.isInstant === true ? effect : measured(effect, fiber)
        if (!Telemetry.isTraced(fiber)) {
          return timed
        }
        const { attributes: own, category } = target()
        return Telemetry.inSpan(
          timed,
          category === undefined ? operation : `${operation} ${category}`,
          {
            kind,
            attributes: {
              ...attributes,
              "db.operation.name": operation,
              ...(category === undefined ? undefined : { "db.collection.name": category }),
              ...own
            }
          },
          found
        )
      })
  }

  const ofStream = (stream: StreamId.StreamId, attributes?: Telemetry.Attributes) => ({
    category: StreamId.category(stream),
    attributes: { "effect_decider.stream": stream, ...attributes }
  })

  const append = observe("append")
  const load = observe("load")
  const readStream = observe("readStream")
  const read = observe("read")
  const streamVersion = observe("streamVersion")
  const streams = observe("streams")
  const importing = observe("import")
  const tombstone = observe("tombstone")
  const head = observe("head")
  const purge = observe("purgeIdempotencyRecords")
  const saveSnapshot = observe("saveSnapshot")
  const purgeSnapshots = observe("purgeSnapshots")

  const readPage =
    (readPage: Primitives["readPage"]): Primitives["readPage"] =>
    (range) =>
      read(
        readPage(range),
        () => ({ category: range.category, attributes: { "effect_decider.after": String(range.after) } }),
        ({ events }) => ({ "db.response.returned_rows": events.length })
      )
  const { pagesOfRead, snapshots } = primitives

  // Whether nobody gets to know what a fiber asks for, so that it can be asked for directly.
  const isUnseen = (fiber: Telemetry.AnyFiber | undefined): boolean =>
    system.isInstant === true && fiber !== undefined && !Telemetry.isTraced(fiber)

  return {
    ...primitives,
    appendAll: (writes, options, fiber) =>
      isUnseen(fiber)
        ? primitives.appendAll(writes, options, fiber)
        : append(
            primitives.appendAll(writes, options),
            () => {
              const [first] = writes
              const count = writes.reduce((count, { events }) => count + events.length, 0)
              return writes.length === 1
                ? ofStream(first.stream, { "effect_decider.events": count })
                : { attributes: { "db.operation.batch.size": writes.length, "effect_decider.events": count } }
            },
            (written) =>
              written.length === 1
                ? { "effect_decider.version": written[0]!.version, "effect_decider.repeated": written[0]!.repeated }
                : {}
          ),
    load: (stream, options, fiber) =>
      isUnseen(fiber)
        ? primitives.load(stream, options, fiber)
        : load(
            primitives.load(stream, options),
            () => ofStream(stream),
            ({ events, version }) => ({ "db.response.returned_rows": events.length, "effect_decider.version": version })
          ),
    readStreamPage: (stream, range) =>
      readStream(
        primitives.readStreamPage(stream, range),
        () => ofStream(stream),
        ({ events }) => ({ "db.response.returned_rows": events.length })
      ),
    readPage: readPage(primitives.readPage),
    pagesOfRead:
      pagesOfRead === undefined
        ? undefined
        : Effect.map(pagesOfRead, (pages) => ({ ...pages, readPage: readPage(pages.readPage) })),
    streamVersion: (stream) =>
      streamVersion(
        primitives.streamVersion(stream),
        () => ofStream(stream),
        (version) => ({ "effect_decider.version": version })
      ),
    versionAt: (stream, until) => streamVersion(primitives.versionAt(stream, until), () => ofStream(stream)),
    listStreams: (range) =>
      streams(
        primitives.listStreams(range),
        () => ({}),
        (found) => ({ "db.response.returned_rows": found.length })
      ),
    importBatch: (batch) =>
      importing(primitives.importBatch(batch), () => ({
        attributes: { "effect_decider.events": batch.events.length }
      })),
    tombstone: (stream, expected) =>
      tombstone(
        primitives.tombstone(stream, expected),
        () => ofStream(stream),
        (version) => ({ "effect_decider.version": version })
      ),
    head: head(primitives.head, () => ({})),
    purgeIdempotencyRecords: (before) => purge(primitives.purgeIdempotencyRecords(before), () => ({})),
    snapshots: snapshots && {
      save: (snapshot) =>
        saveSnapshot(snapshots.save(snapshot), () =>
          ofStream(snapshot.stream, { "effect_decider.version": snapshot.version })
        ),
      purge: (before) => purgeSnapshots(snapshots.purge(before), () => ({}))
    }
  }
}
