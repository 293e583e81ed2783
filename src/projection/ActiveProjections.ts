/**
 * Which version of each projection is the one to read, and which projections are part of every append.
 *
 * This is what `Inline` and `Rebuild` are made of: a version is built beside the one that is read, and becomes the one to
 * read in a single step. It is public for those who write stores of their own.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type { Position } from "../store/Position.ts"
import type { StoreUnavailable } from "../store/StoreError.ts"
import type { Lease } from "./Consumers.ts"

/**
 * A version of a projection that is the one to read. One that `isInline` is made by whoever appends.
 *
 * @category models
 * @since 0.1.0
 */
export interface Active {
  readonly name: string
  readonly version: number
  readonly isInline: boolean
}

/**
 * The projections that a database knows. In a transaction of the store all of it is part of that.
 *
 * @category services
 * @since 0.1.0
 */
export class ActiveProjections extends Context.Service<
  ActiveProjections,
  {
    /** All of them, by name. */
    readonly list: Effect.Effect<ReadonlyArray<Active>, StoreUnavailable>

    /** The version to read of a projection, if there is one. */
    readonly get: (name: string) => Effect.Effect<Active | undefined, StoreUnavailable>

    /**
     * Has the database look at each append whether it is given to all inline projections. Needed once, outside of a
     * transaction, before the first one is activated; may be repeated.
     */
    readonly guard: Effect.Effect<void, StoreUnavailable>

    /**
     * Makes a version the one to read, and no other, if `before` is what was active until now: what `get` has answered, in the
     * same transaction or earlier. Answers whether it was. Once one is inline, every append fails with `InlineMissing` that does
     * not say it runs it, whoever makes it. For an inline one the transaction must be one that appends exclusively.
     */
    readonly activate: (projection: Active, before: Active | undefined) => Effect.Effect<boolean, StoreUnavailable>

    /** No version of it is to be read any more, nor part of any append. Answers whether one was. */
    readonly deactivate: (name: string) => Effect.Effect<boolean, StoreUnavailable>

    /** Waits until nobody is appending, and keeps all others from it until the transaction ends. */
    readonly exclusively: Effect.Effect<void, StoreUnavailable>

    /**
     * Says of the appends that follow in the transaction which inline projections they are given to. Where this is forgetful
     * it holds until the transaction ends, and elsewhere it must be taken back before that.
     *
     * With `patience` what waits for another transaction for longer than that fails, until this one ends. A store in which
     * nobody waits inside of a transaction need not mind.
     */
    readonly running: (
      projections: ReadonlyArray<string>,
      patience?: Duration.Duration
    ) => Effect.Effect<void, StoreUnavailable>

    readonly isForgetful: boolean

    /**
     * Waits until no other transaction has any of these keys, and has them until the transaction ends; all in one order, so
     * that two such calls never wait for each other. Answers the inline projections, which stay the same until the
     * transaction ends if it has appended.
     */
    readonly claim: (keys: ReadonlyArray<string>) => Effect.Effect<ReadonlySet<string>, StoreUnavailable>

    /**
     * Has a consumer begin anew when it is run the next time: forgets its checkpoint, its parked events, and who holds it. It
     * stays paused if it was.
     */
    readonly forget: (consumer: string) => Effect.Effect<void, StoreUnavailable>

    /**
     * Takes a consumer from whoever runs it. It stays where it is for as long as the lease lasts, and goes on by itself when
     * that is over. Answers nothing when nobody has ever run it, or nobody is to run it.
     */
    readonly seize: (
      consumer: string,
      options: { readonly holder: string; readonly duration: Duration.Duration }
    ) => Effect.Effect<{ readonly lease: Lease; readonly position: Position } | undefined, StoreUnavailable>

    /** Removes up to so many documents of a collection. Answers how many it removed. */
    readonly clear: (collection: string, limit: number) => Effect.Effect<number, StoreUnavailable>
  }
>()("effect-decider/projection/ActiveProjections") {}
