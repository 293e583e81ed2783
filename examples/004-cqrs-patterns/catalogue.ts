/**
 * The catalogue: what is shown of the lots. A read model in memory, folded from the log and kept up to date.
 *
 * It is never asked for a decision and it may be behind; by how much it knows, for it remembers the position up to which it
 * has read. Every process has its own and begins it anew. Read models that are stored come with a later example.
 */
import {
  Context,
  Data,
  Effect,
  Fiber,
  HashMap,
  Layer,
  Option,
  Order,
  Result,
  Schedule,
  Stream,
  SubscriptionRef
} from "effect"
import { Category, EventStore, Position, type RecordedEvent, type StoreError, StreamId, View } from "effect-decider"
import type { Entry } from "./api.ts"
import { LotCategory, type LotEvent } from "./lot.ts"

type Shown = Omit<Entry, "number"> | undefined

/** One lot. The version comes with the event: it is what `If-Match` is compared with. */
const Lot = View.make<Shown, { readonly event: LotEvent; readonly version: number }>({
  initialState: undefined,
  evolve: (entry, { event, version }) => {
    if (event._tag === "Consigned") {
      return { title: event.title, seller: event.seller, status: "open", price: event.start, bids: 0, version }
    }
    if (entry === undefined) {
      return undefined
    }
    switch (event._tag) {
      case "Described":
        return { ...entry, title: event.title, version }
      case "BidPlaced":
        return { ...entry, price: event.amount, bidder: event.bidder, bids: entry.bids + 1, version }
      case "Sold":
        return { ...entry, status: "sold", version }
      case "Unsold":
        return { ...entry, status: "unsold", version }
    }
  }
})

const Lots = View.many(Lot)

export interface Model {
  /** Up to where the log was read. */
  readonly position: Position.Position
  /** Where it changed last. */
  readonly changed: Position.Position
  readonly lots: typeof Lots.initialState
}

const empty: Model = { position: Position.origin, changed: Position.origin, lots: Lots.initialState }

const fold = (
  model: Model,
  events: ReadonlyArray<RecordedEvent.RecordedEvent>
): Result.Result<Model, StoreError.EventDecodeError> => {
  let { changed, lots } = model
  for (const recorded of events) {
    const decoded = Category.decode(LotCategory, recorded)
    if (Result.isFailure(decoded)) {
      return Result.fail(decoded.failure)
    }
    const key = StreamId.entityId(recorded.stream)
    lots = View.foldFrom(
      Lots,
      lots,
      decoded.success.map((event) => ({ key, event: { event, version: recorded.version } }))
    )
    changed = recorded.position
  }
  return Result.succeed({ ...model, changed, lots })
}

export const find = ({ lots }: Model, number: string): Option.Option<Entry> =>
  Option.flatMapNullishOr(HashMap.get(lots, number), (lot) => lot && { number, ...lot })

export const list = (model: Model, status: Entry["status"] | undefined): ReadonlyArray<Entry> =>
  [...HashMap.keys(model.lots)]
    .toSorted(Order.String)
    .flatMap((number) => Option.toArray(find(model, number)))
    .filter((entry) => status === undefined || entry.status === status)

/** The catalogue has not come as far as was asked in time. */
export class Behind extends Data.TaggedError("Behind")<{ readonly position: Position.Position }> {}

/** How long a query waits for the catalogue to come as far as it asks. */
const patience = "3 seconds"

export class Catalogue extends Context.Service<
  Catalogue,
  {
    /** The catalogue as it is, or as soon as it has come as far as `after`. */
    readonly upTo: (
      after: Position.Position | undefined
    ) => Effect.Effect<Model, Behind | StoreError.ReadError | StoreError.EventDecodeError>
  }
>()("examples/004/Catalogue") {
  static readonly layer = Layer.effect(
    Catalogue,
    Effect.gen(function* () {
      const store = yield* EventStore.EventStore
      const model = yield* SubscriptionRef.make(empty)

      // One page after the other. What a page says it has scanned counts, for the events of others go by unseen.
      const readOn = Effect.gen(function* () {
        let isEnd = false
        while (!isEnd) {
          const known = yield* SubscriptionRef.get(model)
          const page = yield* store.readPage({ category: LotCategory.name, after: known.position })
          const folded = yield* Effect.fromResult(fold(known, page.events))
          yield* SubscriptionRef.set(model, { ...folded, position: page.scanned })
          isEnd = page.isEnd
        }
      })

      const readOnOrTryAgain = Effect.retry(readOn, {
        schedule: Schedule.spaced("200 millis"),
        while: (error) => error._tag === "StoreUnavailable" && error.isRetryable
      })

      // Nobody is shown the empty catalogue that every start begins with.
      yield* readOnOrTryAgain
      const follower = yield* Effect.forkScoped(Stream.runForEach(store.changes, () => readOnOrTryAgain))

      const reach = (after: Position.Position) =>
        SubscriptionRef.changes(model).pipe(
          Stream.filter(({ position }) => position >= after),
          Stream.runHead,
          Effect.map(Option.getOrThrow),
          Effect.timeoutOrElse({
            duration: patience,
            orElse: () =>
              Effect.flatMap(SubscriptionRef.get(model), ({ position }) => Effect.fail(new Behind({ position })))
          })
        )

      return {
        // A catalogue that has stopped following says why, rather than showing the past for ever.
        upTo: (after) =>
          Effect.raceFirst(
            Effect.andThen(Fiber.join(follower), Effect.never),
            after === undefined ? SubscriptionRef.get(model) : reach(after)
          )
      }
    })
  )
}
