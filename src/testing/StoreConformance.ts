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
import type * as Effect from "effect/Effect"
import type { EventStore } from "../store/EventStore.ts"
import * as BadInput from "./internal/conformance/badInput.ts"
import * as Changes from "./internal/conformance/changes.ts"
import * as Fibers from "./internal/conformance/fibers.ts"
import * as GlobalReads from "./internal/conformance/globalReads.ts"
import * as Idempotence from "./internal/conformance/idempotence.ts"
import * as Imports from "./internal/conformance/imports.ts"
import * as Isolation from "./internal/conformance/isolation.ts"
import type * as Kit from "./internal/conformance/kit.ts"
import * as Listing from "./internal/conformance/listing.ts"
import * as MultiWrite from "./internal/conformance/multiWrite.ts"
import * as Races from "./internal/conformance/races.ts"
import * as Records from "./internal/conformance/records.ts"
import * as RoundTrip from "./internal/conformance/roundTrip.ts"
import * as StreamReads from "./internal/conformance/streamReads.ts"
import * as Times from "./internal/conformance/times.ts"
import * as Tombstones from "./internal/conformance/tombstones.ts"
import * as Transactions from "./internal/conformance/transactions.ts"
import * as Versions from "./internal/conformance/versions.ts"

/**
 * One thing that every store must do. It runs on the real clock and fails after 20 seconds rather than hang.
 *
 * @category models
 * @since 0.1.0
 */
export interface Case {
  readonly name: string
  readonly run: Effect.Effect<void, ConformanceFailure, EventStore>
}

/**
 * A store did otherwise than it must: `issue` says what was looked at, what was expected there and what was seen.
 *
 * @category errors
 * @since 0.1.0
 */
export type ConformanceFailure = Kit.ConformanceFailure

/**
 * All cases. Their names begin with the theme: `versions`, `races`, `several writes`, `repeats`, `records`, `transactions`,
 * `reading a stream`, `reading all`, `pages`, `head`, `changes`, `listing`, `times`, `round trip`, `imports`, `tombstones`,
 * `bad input`, `isolation`.
 *
 * **Example** (Without a test runner)
 *
 * ```ts
 * import { Effect } from "effect"
 * import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
 * import { StoreConformance } from "effect-decider/testing"
 *
 * const program = Effect.forEach(
 *   StoreConformance.cases.filter(({ name }) => name.startsWith("versions")),
 *   ({ name, run }) => Effect.mapError(run, (failure) => `${name}: ${failure.message}`),
 *   { discard: true }
 * )
 *
 * await Effect.runPromise(Effect.provide(program, MemoryEventStore.layer)) // => undefined
 * ```
 *
 * @category cases
 * @since 0.1.0
 */
export const cases: ReadonlyArray<Case> = [
  ...Versions.cases,
  ...Races.cases,
  ...MultiWrite.cases,
  ...Idempotence.cases,
  ...Records.cases,
  ...Transactions.cases,
  ...Fibers.cases,
  ...StreamReads.cases,
  ...GlobalReads.cases,
  ...Listing.cases,
  ...Times.cases,
  ...Changes.cases,
  ...RoundTrip.cases,
  ...Imports.cases,
  ...Tombstones.cases,
  ...BadInput.cases,
  ...Isolation.cases
]

/**
 * Registers every case with a test runner.
 *
 * `test` is the runner's own function: `it` or `test` of vitest, jest, mocha, `node:test`, bun or Deno. `run` gives an
 * effect the store and runs it, the same store for all cases; a `ManagedRuntime` does that and closes the store at the end.
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
 *   for (const { name, run } of StoreConformance.cases) {
 *     it.effect(name, () => run)
 *   }
 * })
 * ```
 *
 * @category registration
 * @since 0.1.0
 */
export const register = (
  test: (name: string, run: () => Promise<void>) => unknown,
  run: (effect: Effect.Effect<void, ConformanceFailure, EventStore>) => Promise<void>
): void => {
  for (const { name, run: effect } of cases) {
    test(name, () => run(effect))
  }
}
