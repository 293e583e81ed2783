/**
 * A projection that is divided: as many consumers as it has partitions, each with a checkpoint and a lease of its own. Each
 * takes the events of its keys, so what is made of a key is made by one of them, in order.
 *
 * The row that would be the consumer of the whole is held for good by a holder that says into how many it is divided. So all
 * processes agree on that, and none runs the whole beside the parts.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Position from "../../store/Position.ts"
import type { StoreUnavailable } from "../../store/StoreError.ts"
import type { Consumers, Standing } from "../Consumers.ts"
import type { Tools } from "./consuming.ts"
import * as Names from "./names.ts"
import type { Status } from "./standings.ts"

const forGood = Duration.days(100 * 365)

const dividing = "divided into "

/**
 * The consumers of a projection: the one of the whole, or one for each partition.
 */
export const consumersOf = (projection: Names.Named, partitions: number): ReadonlyArray<string> => {
  const whole = Names.consumerOf(projection)
  return partitions === 1 ? [whole] : Array.from({ length: partitions }, (_, i) => `${whole}#${i + 1}`)
}

/**
 * A projection was begun as a whole, or divided otherwise, or is about to be.
 */
export class DividedOtherwise {
  readonly _tag = "DividedOtherwise"
  readonly message: string
  readonly isForGood: boolean

  constructor(projection: Names.Named, partitions: number, isForGood: boolean) {
    this.isForGood = isForGood
    this.message =
      `${Names.consumerOf(projection)} is not run in ${partitions} partitions, for it was begun ` +
      `${isForGood ? "as a whole" : "otherwise"}. Give it a new version to divide it.`
  }
}

/**
 * Takes the row of the whole in the name of the division. It belongs into a transaction, and others who do so wait for its end.
 */
export const claim = (
  consumers: Consumers["Service"],
  projection: Names.Named,
  partitions: number
): Effect.Effect<void, StoreUnavailable | DividedOtherwise> =>
  Effect.flatMap(
    consumers.acquire(Names.consumerOf(projection), {
      holder: `${dividing}${partitions}`,
      duration: forGood,
      start: Position.origin
    }),
    (acquired) =>
      acquired._tag === "Held" && acquired.position === Position.origin
        ? Effect.void
        : Effect.fail(new DividedOtherwise(projection, partitions, acquired._tag === "Held"))
  )

/**
 * Waits until it is sure that everybody divides a projection like this. Answers whether that can be at all.
 */
export const agreed = (
  { consumers, store }: Pick<Tools, "consumers" | "store">,
  projection: Names.Named,
  partitions: number
): Effect.Effect<boolean> =>
  Effect.gen(function* () {
    let isTold = false
    while (true) {
      const claimed = yield* Effect.result(store.withTransaction(claim(consumers, projection, partitions)))
      if (Result.isSuccess(claimed)) {
        return true
      }
      if (claimed.failure._tag === "DividedOtherwise") {
        if (!isTold) {
          isTold = true
          yield* Effect.logError(claimed.failure.message)
        }
        if (claimed.failure.isForGood) {
          return false
        }
      }
      yield* Effect.sleep("1 second")
    }
  })

/**
 * Whether it is no consumer, but says that there are several.
 */
export const isDivision = ({ holder }: Pick<Standing, "holder">): boolean => holder?.startsWith(dividing) === true

/**
 * Into how many partitions a projection was divided, as its row says; `undefined` as long as that may change.
 */
export const countOf = (whole: Standing | undefined): number | undefined =>
  whole?.holder?.startsWith(dividing) === true
    ? Number(whole.holder.slice(dividing.length))
    : whole !== undefined && whole.position > Position.origin
      ? 1
      : undefined

/**
 * Whether a key belongs to a partition, counted from 0. What was made depends on it: it must never answer otherwise.
 */
export const isIn =
  (partition: number, partitions: number) =>
  (key: string): boolean => {
    // FNV-1a over UTF-16, mixed once more, for a small number of partitions takes its last bits only.
    let hash = 0x811c9dc5
    for (let i = 0; i < key.length; i++) {
      hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193)
    }
    hash = Math.imul(hash ^ (hash >>> 16), 0x45d9f3b)
    return ((hash ^ (hash >>> 16)) >>> 0) % partitions === partition
  }

/** From what asks for somebody to what is well. */
const states: ReadonlyArray<Status["state"]> = ["stopped", "paused", "waiting", "running"]

/**
 * How projections are doing, from how their consumers are: with all partitions of one together it is as far as the last one.
 */
export const together = (standings: ReadonlyArray<Status>): ReadonlyArray<Names.Named & Omit<Status, "consumer">> => {
  const found = new Map<string, Names.Named & Omit<Status, "consumer">>()
  for (const { consumer, ...status } of standings) {
    const named = Names.ofConsumer(consumer)
    const whole = Names.consumerOf(named)
    const before = found.get(whole)
    if (isDivision(status)) {
      continue
    }
    found.set(
      whole,
      before === undefined
        ? { ...named, ...status }
        : {
            ...named,
            state: states.find((state) => state === before.state || state === status.state)!,
            position: status.position < before.position ? status.position : before.position,
            head: status.head,
            lag: Duration.max(before.lag, status.lag),
            rate: before.rate + status.rate,
            parked: before.parked + status.parked,
            failure: before.failure ?? status.failure,
            holder: [...new Set([before.holder, status.holder].filter((holder) => holder !== undefined))].join(", ")
          }
    )
  }
  return [...found.values()]
}
