/**
 * Consumers, documents and deadlines in memory.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type * as Schema from "effect/Schema"
import { type Active, ActiveProjections } from "../../projection/ActiveProjections.ts"
import { type Acquired, Consumers, type Lease, LeaseLost, type Parked } from "../../projection/Consumers.ts"
import { Deadlines } from "../../projection/Deadlines.ts"
import { DocumentStore } from "../../projection/DocumentStore.ts"
import * as Position from "../../store/Position.ts"
import * as StreamId from "../../store/StreamId.ts"
import * as MemoryDeadlines from "./memoryDeadlines.ts"
import { type Journal, Table } from "./memoryTables.ts"

/**
 * How tables are read and written by who may be in a transaction. `changed` says how much of the journal is there for the
 * reader, `isFinal` whether what is written cannot be taken back.
 */
export interface Access {
  readonly reading: <A>(read: (changed: number) => A) => Effect.Effect<A>
  readonly writing: <A>(
    write: (changed: number, isFinal: boolean, fiber: Fiber.Fiber<unknown, unknown>) => A
  ) => Effect.Effect<A>
}

/**
 * These services on tables of a journal.
 */
export const make = (
  journal: Journal,
  access: Access,
  inline: Inline
): Context.Context<ActiveProjections | Consumers | Deadlines | DocumentStore> => {
  const tables = {
    rows: new Table<Row>(journal),
    parked: new Table<ReadonlyMap<Position.Position, Parked>>(journal),
    collections: new Map<string, Table<Schema.Json>>()
  }
  return Context.make(Consumers, consumers(tables, access)).pipe(
    Context.add(DocumentStore, documents(journal, tables, access)),
    Context.add(ActiveProjections, active(tables, inline, access)),
    Context.add(Deadlines, MemoryDeadlines.make(journal, access))
  )
}

interface Tables {
  readonly rows: Table<Row>
  readonly parked: Table<ReadonlyMap<Position.Position, Parked>>
  readonly collections: Map<string, Table<Schema.Json>>
}

/**
 * The active projections of a store, and which inline ones the current transaction runs. One transaction writes at a time.
 */
export class Inline {
  readonly active: Table<Active>
  readonly running: Table<ReadonlyArray<string>>
  /** Whether there was ever an inline projection. Who appends where there was none asks no further. */
  isUsed = false

  constructor(journal: Journal) {
    this.active = new Table(journal)
    this.running = new Table(journal)
  }

  names(changed: number): ReadonlyArray<string> {
    return Array.from(this.active.entries(changed).values())
      .filter(({ isInline }) => isInline)
      .map(({ name, version }) => `${name}/${version}`)
      .sort()
  }

  missing(changed: number): ReadonlyArray<string> {
    const running = this.running.get("", changed) ?? []
    return this.names(changed).filter((name) => !running.includes(name))
  }
}

const active = (
  { collections, parked, rows }: Tables,
  inline: Inline,
  { reading, writing }: Access
): ActiveProjections["Service"] =>
  ActiveProjections.of({
    isForgetful: false,
    list: reading((changed) =>
      Array.from(inline.active.entries(changed).values()).sort((one, other) => inBytes(one.name, other.name))
    ),
    get: (name) => reading((changed) => inline.active.get(name, changed)),
    activate: (projection, before) =>
      writing((changed, isFinal) => {
        const now = inline.active.get(projection.name, changed)
        const isAsBefore = now?.version === before?.version && now?.isInline === before?.isInline
        if (isAsBefore) {
          inline.isUsed ||= projection.isInline
          inline.active.set(projection.name, projection, isFinal)
        }
        return isAsBefore
      }),
    deactivate: (name) =>
      writing((changed, isFinal) => {
        const found = inline.active.get(name, changed) !== undefined
        inline.active.set(name, undefined, isFinal)
        return found
      }),
    // It looks by itself.
    guard: Effect.void,
    exclusively: writing(() => undefined),
    running: (projections) => writing((_, isFinal) => inline.running.set("", projections, isFinal)),
    claim: () => writing((changed) => new Set(inline.names(changed))),
    forget: (consumer) =>
      writing((changed, isFinal) => {
        parked.set(consumer, undefined, isFinal)
        const row = rows.get(consumer, changed)
        if (row !== undefined) {
          rows.set(consumer, { ...unknown, isPaused: row.isPaused, epoch: row.epoch + 1n }, isFinal)
        }
      }),
    seize: (consumer, { duration, holder }) =>
      writing((changed, isFinal, fiber) => {
        const row = rows.get(consumer, changed)
        if (row === undefined || row.isPaused) {
          return undefined
        }
        const lease: Lease = { consumer, holder, duration, epoch: row.epoch + 1n }
        const heldUntil = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe() + Duration.toMillis(duration)
        rows.set(consumer, { ...row, holder, epoch: lease.epoch, heldUntil }, isFinal)
        return { lease, position: row.position }
      }),
    clear: (collection, limit) =>
      writing((changed, isFinal) => {
        const table = collections.get(collection)
        const keys = Array.from(table?.entries(changed).keys() ?? []).slice(0, limit)
        keys.forEach((key) => table!.set(key, undefined, isFinal))
        return keys.length
      })
  })

interface Row {
  readonly position: Position.Position
  readonly epoch: bigint
  readonly holder: string | undefined
  readonly heldUntil: number
  readonly isPaused: boolean
  readonly failure: string | undefined
  readonly rate: number
}

const consumers = ({ parked, rows: table }: Tables, { reading, writing }: Access): Consumers["Service"] => {
  const now = (fiber: Fiber.Fiber<unknown, unknown>) => fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()

  const parkedOf = (consumer: string, changed: number): ReadonlyArray<Parked> =>
    Array.from(parked.get(consumer, changed)?.values() ?? []).sort((one, other) =>
      Position.Order(one.position, other.position)
    )
  const headsOf = (events: ReadonlyArray<Parked>): ReadonlyArray<Parked> => {
    const heads = new Map<string, Parked>()
    for (const event of events) {
      if (!heads.has(event.key)) {
        heads.set(event.key, event)
      }
    }
    return Array.from(heads.values())
  }
  const setParked = (consumer: string, events: ReadonlyArray<Parked>, isFinal: boolean) =>
    parked.set(
      consumer,
      events.length === 0 ? undefined : new Map(events.map((event) => [event.position, event])),
      isFinal
    )

  // Changes a row if the lease is held; answers whether it is.
  const changing = (
    lease: Lease,
    change: (row: Row, fiber: Fiber.Fiber<unknown, unknown>) => Row | undefined
  ): Effect.Effect<boolean> =>
    writing((changed, isFinal, fiber) => {
      const row = table.get(lease.consumer, changed)
      const after = row?.epoch === lease.epoch ? change(row, fiber) : undefined
      if (after !== undefined) {
        table.set(lease.consumer, after, isFinal)
      }
      return after !== undefined
    })
  const ifHeld = (lease: Lease, changed: Effect.Effect<boolean>) =>
    Effect.flatMap(changed, (isHeld) =>
      isHeld ? Effect.void : Effect.fail(new LeaseLost({ consumer: lease.consumer }))
    )
  const until = ({ duration }: Lease, fiber: Fiber.Fiber<unknown, unknown>) => now(fiber) + Duration.toMillis(duration)

  return Consumers.of({
    acquire: (consumer, { duration, holder, start }) =>
      writing((changed, isFinal, fiber): Acquired => {
        const row = table.get(consumer, changed) ?? { ...unknown, position: start }
        const remaining = row.heldUntil - now(fiber)
        const isBusy = row.holder !== undefined && row.holder !== holder && remaining >= 0
        if (row.isPaused || isBusy) {
          return row.isPaused ? { _tag: "Paused" } : { _tag: "Busy", remaining }
        }
        const lease: Lease = { consumer, holder, duration, epoch: row.epoch + 1n }
        table.set(consumer, { ...row, holder, epoch: lease.epoch, heldUntil: until(lease, fiber) }, isFinal)
        return { _tag: "Held", lease, position: row.position, hasParked: parked.get(consumer, changed) !== undefined }
      }),
    renew: (lease, rate) =>
      ifHeld(
        lease,
        changing(lease, (row, fiber) => (row.isPaused ? undefined : { ...row, heldUntil: until(lease, fiber), rate }))
      ),
    enter: () => Effect.void,
    advance: (lease, from, to) =>
      ifHeld(
        lease,
        changing(lease, (row, fiber) =>
          row.isPaused || row.position !== from ? undefined : { ...row, position: to, heldUntil: until(lease, fiber) }
        )
      ),
    release: (lease) => Effect.asVoid(changing(lease, (row) => ({ ...row, holder: undefined }))),
    note: (lease, failure, isStopped) =>
      Effect.asVoid(changing(lease, (row) => ({ ...row, failure, isPaused: row.isPaused || isStopped }))),
    setPaused: (consumer, isPaused) =>
      writing((changed, isFinal) => {
        const row = table.get(consumer, changed)
        if (row !== undefined) {
          table.set(consumer, { ...row, isPaused, failure: isPaused ? row.failure : undefined }, isFinal)
        }
        return row !== undefined
      }),
    list: (prefix) =>
      // Writes nothing, but wants the time.
      Effect.withFiber((fiber) =>
        reading((changed) =>
          Array.from(table.entries(changed))
            .filter(([consumer]) => consumer.startsWith(prefix))
            .sort(([one], [other]) => (one < other ? -1 : 1))
            .map(([consumer, { failure, heldUntil, holder, isPaused, position, rate }]) => ({
              consumer,
              position,
              holder: heldUntil >= now(fiber) ? holder : undefined,
              isPaused,
              failure,
              rate,
              parked: parked.get(consumer, changed)?.size ?? 0
            }))
        )
      ),
    position: (consumer) => reading((changed) => table.get(consumer, changed)?.position),
    park: ({ consumer }, events) =>
      writing((changed, isFinal) => {
        const added = events.map(({ attempts, error, event, key }): Parked => ({
          position: event.position,
          key,
          stream: event.stream,
          version: event.version,
          type: event.type,
          attempts,
          error,
          isDue: false
        }))
        setParked(consumer, [...parkedOf(consumer, changed), ...added], isFinal)
      }),
    parkedKeys: (consumer, keys) =>
      reading((changed) => {
        const known = new Set(parkedOf(consumer, changed).map(({ key }) => key))
        return new Set(keys.filter((key) => known.has(key)))
      }),
    due: (consumer, limit) =>
      reading((changed) =>
        headsOf(parkedOf(consumer, changed))
          .filter(({ attempts, isDue }) => attempts === 0 || isDue)
          .slice(0, limit)
      ),
    parked: (consumer, { after = Position.origin, key, limit = 100 } = {}) =>
      reading((changed) =>
        parkedOf(consumer, changed)
          .filter((event) => event.position > after && (key === undefined || event.key === key))
          .slice(0, limit)
      ),
    unpark: (consumer, position) =>
      writing((changed, isFinal) => {
        const events = parkedOf(consumer, changed)
        const rest = events.filter((event) => event.position !== position)
        setParked(consumer, rest, isFinal)
        return rest.length < events.length
      }),
    retry: (consumer, key) =>
      writing((changed, isFinal) => {
        const events = parkedOf(consumer, changed)
        const heads = new Set(headsOf(events).filter((event) => key === undefined || event.key === key))
        setParked(
          consumer,
          events.map((event) => (heads.has(event) ? { ...event, isDue: true } : event)),
          isFinal
        )
        return heads.size
      })
  })
}

const unknown: Row = {
  position: Position.origin,
  epoch: 0n,
  holder: undefined,
  heldUntil: 0,
  isPaused: false,
  failure: undefined,
  rate: 0
}

const documents = (
  journal: Journal,
  { collections }: Tables,
  { reading, writing }: Access
): DocumentStore["Service"] => {
  const tableOf = (collection: string) => {
    const table = collections.get(collection) ?? new Table<Schema.Json>(journal)
    collections.set(collection, table)
    return table
  }
  return DocumentStore.of({
    getMany: (collection, keys) =>
      reading((changed) => {
        const table = tableOf(collection)
        return keys.flatMap((key) => {
          const state = table.get(key, changed)
          return state === undefined ? [] : [{ key, state }]
        })
      }),
    list: (collection, { after = "", limit, prefix }) =>
      reading((changed) =>
        Array.from(tableOf(collection).entries(changed))
          .filter(([key]) => key.startsWith(prefix) && inBytes(key, after) > 0)
          .sort(([one], [other]) => inBytes(one, other))
          .slice(0, limit)
          .map(([key, state]) => ({ key, state }))
      ),
    write: (collection, documents, removed) =>
      writing((_, isFinal) => {
        const table = tableOf(collection)
        for (const { key, state } of documents) {
          table.set(key, state, isFinal)
        }
        for (const key of removed) {
          table.set(key, undefined, isFinal)
        }
      })
  })
}

// As SQL stores order them.
const inBytes = (one: string, other: string): number =>
  StreamId.Order(one as StreamId.StreamId, other as StreamId.StreamId)
