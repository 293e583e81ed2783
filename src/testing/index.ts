/**
 * The test kit: what tests of programs and stores built on this library are written with.
 *
 * @since 0.1.0
 */
export * as DeciderLaws from "./DeciderLaws.ts"
export * as FaultyStore from "./FaultyStore.ts"
export * as GoldenEvents from "./GoldenEvents.ts"
export * as GoldenFold from "./GoldenFold.ts"
export * as Linearizability from "./Linearizability.ts"
export * as Scenario from "./Scenario.ts"
export * as StoreConformance from "./StoreConformance.ts"
