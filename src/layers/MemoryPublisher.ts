/**
 * A publisher that keeps what is published, for tests to look at.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as SubscriptionRef from "effect/SubscriptionRef"
import type { CloudEvent } from "../projection/CloudEvent.ts"
import { Publisher } from "../projection/Publisher.ts"

/**
 * What was published so far, in that order, repeats included: to be read, and to be watched with `SubscriptionRef.changes`.
 *
 * @category services
 * @since 0.1.0
 */
export class Published extends Context.Service<Published, SubscriptionRef.SubscriptionRef<ReadonlyArray<CloudEvent>>>()(
  "effect-decider/layers/MemoryPublisher/Published"
) {}

/**
 * A publisher in memory.
 *
 * **Example** (What was published)
 *
 * ```ts
 * import { Effect, SubscriptionRef } from "effect"
 * import { Publisher } from "effect-decider"
 * import * as MemoryPublisher from "effect-decider/layers/MemoryPublisher"
 *
 * const program = Effect.gen(function*() {
 *   const publisher = yield* Publisher.Publisher
 *   yield* publisher.publish({ specversion: "1.0", id: "7", source: "/bells", type: "BellRung" })
 *   const published = yield* SubscriptionRef.get(yield* MemoryPublisher.Published)
 *   return published.map(({ type }) => type)
 * })
 *
 * await Effect.runPromise(Effect.provide(program, MemoryPublisher.layer)) // => ["BellRung"]
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Publisher | Published> = /*#__PURE__*/ Layer.effectContext(
  Effect.map(SubscriptionRef.make<ReadonlyArray<CloudEvent>>([]), (published) =>
    Context.make(Published, published).pipe(
      Context.add(
        Publisher,
        Publisher.of({ publish: (event) => SubscriptionRef.update(published, (before) => [...before, event]) })
      )
    )
  )
)
