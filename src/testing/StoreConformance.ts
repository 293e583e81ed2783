/**
 * What every event store must do, as cases that any test runner can run.
 *
 * The stores of this library run them, and a store of your own should: deciders, projections and programs rely on exactly
 * this. Each case is an Effect that needs the `EventStore` and fails with what it expected and what it saw.
 *
 * Cases use streams of their own, so they pass on a store that was written to before, and again on the same one. They look
 * at the head, so nobody else may write to the store meanwhile, and they must run one after another.
 *
 * @since 0.1.0
 */
import { uuidV7Unsafe } from "effect/crypto/SecureRandom"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { EventStore } from "../store/EventStore.ts"
import * as BadInput from "./internal/conformance/badInput.ts"
import * as Changes from "./internal/conformance/changes.ts"
import * as Conditions from "./internal/conformance/conditions.ts"
import * as Crashes from "./internal/conformance/crashes.ts"
import * as Fibers from "./internal/conformance/fibers.ts"
import * as GlobalOrder from "./internal/conformance/globalOrder.ts"
import * as GlobalReads from "./internal/conformance/globalReads.ts"
import * as Idempotence from "./internal/conformance/idempotence.ts"
import * as Imports from "./internal/conformance/imports.ts"
import * as Instances from "./internal/conformance/instances.ts"
import * as Isolation from "./internal/conformance/isolation.ts"
import type * as Kit from "./internal/conformance/kit.ts"
import * as Listing from "./internal/conformance/listing.ts"
import * as Model from "./internal/conformance/model.ts"
import * as MultiWrite from "./internal/conformance/multiWrite.ts"
import * as Races from "./internal/conformance/races.ts"
import * as Records from "./internal/conformance/records.ts"
import * as RoundTrip from "./internal/conformance/roundTrip.ts"
import * as Snapshots from "./internal/conformance/snapshots.ts"
import * as StreamReads from "./internal/conformance/streamReads.ts"
import * as Subscriptions from "./internal/conformance/subscriptions.ts"
import * as Tails from "./internal/conformance/tails.ts"
import * as Times from "./internal/conformance/times.ts"
import * as Tombstones from "./internal/conformance/tombstones.ts"
import * as Transactions from "./internal/conformance/transactions.ts"
import * as Versions from "./internal/conformance/versions.ts"

/**
 * One thing that every store must do. It runs on the real clock and fails after two minutes rather than hang.
 *
 * `skipped` says why a case cannot be run: the hook that it needs was not given. Such a case has shown nothing, so it fails
 * when it is run all the same; report it as skipped.
 *
 * @category models
 * @since 0.1.0
 */
export interface Case<out R = never> {
  readonly name: string
  readonly skipped: string | undefined
  readonly run: Effect.Effect<void, ConformanceFailure, EventStore | R>
}

/**
 * What some cases do to a store from outside of its contract. What is not given is skipped.
 *
 * - `crash`: kills the store, as `kill -9` or a power failure does, and starts it again on what was durable. Calls to the
 *   store under test that come later must work again; calls that are under way fail or wait.
 * - `terminate`: ends, from outside, the sessions that have a transaction open, as an administrator of a database does.
 * - `work`: changes something else in the transaction around it, for example a row of another table.
 * - `another`: opens another instance of the store on the same events, as another process has it.
 * - `snapshots`: `false` for a store that keeps no snapshots, which it need not: then it is only looked at that nobody notices.
 * - `seed`: what the random cases start from; they print theirs when they fail. Another one each time by default.
 * - `programs`: how many random programs are compared with the model; 25 by default.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<R = never> {
  readonly crash?: Effect.Effect<unknown, unknown, R> | undefined
  readonly terminate?: Effect.Effect<unknown, unknown, R> | undefined
  readonly work?: Effect.Effect<unknown, unknown, R> | undefined
  readonly another?: Effect.Effect<EventStore["Service"], unknown, R | Scope.Scope> | undefined
  readonly snapshots?: boolean | undefined
  readonly seed?: number | undefined
  readonly programs?: number | undefined
}

/**
 * A store did otherwise than it must: `issue` says what was looked at, what was expected there and what was seen.
 *
 * @category errors
 * @since 0.1.0
 */
export type ConformanceFailure = Kit.ConformanceFailure

/**
 * @since 0.1.0
 */
export declare namespace Options {
  /**
   * What the hooks need to run.
   *
   * @category utility types
   * @since 0.1.0
   */
  export type Services<O extends Options<any>> = {
    [K in keyof O]: O[K] extends Effect.Effect<any, any, infer R> ? Exclude<R, Scope.Scope> : never
  }[keyof O]
}

/**
 * All cases. Their names begin with the theme: `versions`, `races`, `several writes`, `repeats`, `records`, `conditions`,
 * `transactions`, `reading a stream`, `reading all`, `pages`, `head`, `global order`, `tails`, `changes`, `subscriptions`,
 * `listing`, `times`, `round trip`, `imports`, `tombstones`, `snapshots`, `bad input`, `isolation`, `instances`, `crashes`, `model`.
 *
 * **Example** (Without a test runner)
 *
 * ```ts
 * import { Effect } from "effect"
 * import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
 * import { StoreConformance } from "effect-decider/testing"
 *
 * const program = Effect.forEach(
 *   StoreConformance.cases().filter(({ name }) => name.startsWith("versions")),
 *   ({ name, run }) => Effect.mapError(run, (failure) => `${name}: ${failure.message}`),
 *   { discard: true }
 * )
 *
 * await Effect.runPromise(Effect.provide(program, MemoryEventStore.layer)) // => undefined
 * ```
 *
 * **Example** (What a store in one process's memory cannot be asked)
 *
 * ```ts
 * import { StoreConformance } from "effect-decider/testing"
 *
 * const skipped = StoreConformance.cases().filter(({ skipped }) => skipped !== undefined)
 *
 * skipped.map(({ name }) => name.split(":")[0]).filter((theme, i, all) => all.indexOf(theme) === i).sort()
 * // => ["conditions", "crashes", "global order", "instances", "snapshots", "tails"]
 * ```
 *
 * @category cases
 * @since 0.1.0
 */
export const cases = <R = never>(options: Options<R> = {}): ReadonlyArray<Case<R>> => {
  // Cases run in the context of the caller, which has what the hooks require; in here nobody needs to know its type.
  const hooks = options as Partial<Kit.Hooks>
  const seed = options.seed ?? Number.parseInt(uuidV7Unsafe().slice(-8), 16)
  return [
    ...Versions.cases,
    ...Races.cases,
    ...MultiWrite.cases,
    ...Idempotence.cases,
    ...Records.cases,
    ...Conditions.cases(hooks, seed),
    ...Transactions.cases,
    ...Fibers.cases,
    ...StreamReads.cases,
    ...GlobalReads.cases,
    ...GlobalOrder.cases(hooks),
    ...Tails.cases(hooks, seed),
    ...Listing.cases,
    ...Times.cases,
    ...Changes.cases,
    ...Subscriptions.cases,
    ...RoundTrip.cases,
    ...Imports.cases,
    ...Tombstones.cases,
    ...Snapshots.cases(hooks, options.snapshots ?? true),
    ...BadInput.cases,
    ...Isolation.cases,
    ...Instances.cases(hooks),
    ...Crashes.cases(hooks),
    ...Model.cases(seed, options.programs ?? 25)
  ]
}

/**
 * How a test is registered with a runner: its `it` or `test`, with a `skip`.
 *
 * @category models
 * @since 0.1.0
 */
export interface TestFunction {
  (name: string, run: () => Promise<void>): unknown
  readonly skip: (name: string, run: () => Promise<void>) => unknown
}

/**
 * Registers every case with a test runner, the skipped ones as skipped.
 *
 * `test` is the runner's own function: `it` or `test` of vitest, jest, mocha, `node:test` or bun. `run` gives an effect the
 * store and runs it, the same store for all cases; a `ManagedRuntime` does that and closes the store at the end.
 *
 * **Example** (With vitest)
 *
 * ```ts no-run
 * import { ManagedRuntime } from "effect"
 * import * as MyEventStore from "effect-decider/layers/MemoryEventStore"
 * import { StoreConformance } from "effect-decider/testing"
 * import { afterAll, describe, it } from "vitest"
 *
 * describe("MyEventStore", () => {
 *   const runtime = ManagedRuntime.make(MyEventStore.layer)
 *   afterAll(() => runtime.dispose())
 *   StoreConformance.register(it, runtime.runPromise)
 * })
 * ```
 *
 * **Example** (With \@effect/vitest)
 *
 * ```ts no-run
 * import { it } from "@effect/vitest"
 * import * as MyEventStore from "effect-decider/layers/MemoryEventStore"
 * import { StoreConformance } from "effect-decider/testing"
 *
 * it.layer(MyEventStore.layer)("MyEventStore", (it) => {
 *   for (const { name, run, skipped } of StoreConformance.cases()) {
 *     it.effect.skipIf(skipped !== undefined)(name, () => run)
 *   }
 * })
 * ```
 *
 * @category registration
 * @since 0.1.0
 */
export const register = <O extends Options<any> = {}>(
  test: TestFunction,
  run: (effect: Effect.Effect<void, ConformanceFailure, EventStore | Options.Services<O>>) => Promise<void>,
  options?: O
): void => {
  for (const { name, run: effect, skipped } of cases<Options.Services<O>>(options)) {
    const body = () => run(effect)
    if (skipped === undefined) {
      test(name, body)
    } else {
      // The store gave no hook for it: its report says so, rather than that it passed.
      test.skip(`${name} (${skipped})`, body)
    }
  }
}
