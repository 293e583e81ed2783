/**
 * What a process knows of projections, whoever runs them: which consumers they have, and how far these are.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Position from "../../store/Position.ts"
import type { StoreUnavailable } from "../../store/StoreError.ts"
import type { Consumers } from "../Consumers.ts"
import * as Names from "./names.ts"
import * as Partitions from "./partitions.ts"
import { Progress } from "./progress.ts"

interface Known {
  readonly progress: Progress
  /** Have the loop of this process look at once, if there is one. */
  nudges: Queue.Queue<void> | undefined
  isAsking: boolean
}

/**
 * The knowledge of a process. It asks the database for what it does not know, as long as the scope is open.
 */
export class Knowing {
  private readonly consumers: Consumers["Service"]
  private readonly scope: Scope.Scope
  private readonly known = new Map<string, Known>()
  /** Into how many partitions projections are divided, for good, by the consumer of the whole. */
  private readonly counts = new Map<string, number>()

  constructor(consumers: Consumers["Service"], scope: Scope.Scope) {
    this.consumers = consumers
    this.scope = scope
  }

  of(consumer: string): Known {
    const one = this.known.get(consumer) ?? { progress: new Progress(), nudges: undefined, isAsking: false }
    this.known.set(consumer, one)
    return one
  }

  isDivided(projection: Names.Named, partitions: number): void {
    this.counts.set(Names.consumerOf(projection), partitions)
  }

  /** All consumers of a projection. Of one that nobody has begun it is not known for good. */
  consumersOf(projection: Names.Named): Effect.Effect<ReadonlyArray<string>, StoreUnavailable> {
    return Effect.suspend(() => {
      const whole = Names.consumerOf(projection)
      const count = this.counts.get(whole)
      return count !== undefined
        ? Effect.succeed(Partitions.consumersOf(projection, count))
        : Effect.map(this.consumers.list(whole), (standings) => {
            const found = Partitions.countOf(standings.find(({ consumer }) => consumer === whole))
            if (found !== undefined) {
              this.counts.set(whole, found)
            }
            return Partitions.consumersOf(projection, found ?? 1)
          })
    })
  }

  /** Waits until all consumers of a projection have seen the log up to a position. */
  seen(projection: Names.Named, position: Position.Position): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      while (true) {
        const all = yield* Effect.retry(this.consumersOf(projection), Schedule.spaced("25 millis"))
        const found = Effect.forEach(all, (consumer) => this.seenBy(consumer, position), {
          concurrency: "unbounded",
          discard: true
        })
        if (this.counts.has(Names.consumerOf(projection))) {
          return yield* found
        }
        // It may turn out to be divided.
        if (Option.isSome(yield* Effect.timeoutOption(found, "100 millis"))) {
          return
        }
      }
    }).pipe(Effect.orDie)
  }

  /** How far a projection is, as the database says if it says so soon. */
  reached(projection: Names.Named): Effect.Effect<Position.Position, StoreUnavailable> {
    const position = (consumer: string) =>
      Effect.map(this.consumers.position(consumer), (position = Position.origin) => position)
    return Effect.flatMap(this.consumersOf(projection), (all) => Effect.forEach(all, position)).pipe(
      Effect.map((positions) => positions.reduce((one, other) => (other < one ? other : one))),
      Effect.timeoutOrElse({
        duration: "1 second",
        orElse: () => Effect.succeed(this.of(Names.consumerOf(projection)).progress.position)
      })
    )
  }

  private seenBy(consumer: string, position: Position.Position): Effect.Effect<void> {
    return Effect.suspend(() => {
      const one = this.of(consumer)
      if (one.progress.hasReached(position)) {
        return Effect.void
      }
      const ask = Effect.suspend(() => {
        if (one.isAsking) {
          return Effect.void
        }
        one.isAsking = true
        return Effect.forkIn(Effect.andThen(Effect.yieldNow, this.asking(consumer, one)), this.scope)
      })
      return Effect.raceFirst(one.progress.reached(position), Effect.andThen(ask, Effect.never))
    })
  }

  /** One asks the database for all in this process who wait for the same consumer, while another process runs it. */
  private asking(consumer: string, one: Known): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      for (let tries = 0; ; tries++) {
        // In one step, for somebody may come at any moment.
        if (one.progress.size === 0) {
          one.isAsking = false
          return
        }
        if (!one.progress.isHere) {
          const found = yield* Effect.orElseSucceed(this.consumers.position(consumer), () => undefined)
          one.progress.tell(found ?? Position.origin)
        }
        yield* Effect.sleep(Math.min(2 + tries, 25))
      }
    })
  }
}
