/**
 * Functional event sourcing on Effect: pure deciders, an event store, and the services that bring them together.
 *
 * Stores are in `effect-decider/layers/*`, the test kit is in `effect-decider/testing`.
 *
 * @since 0.1.0
 */
export * as CommandSchema from "./decider/CommandSchema.ts"
export * as Decider from "./decider/Decider.ts"
export * as EventSchema from "./decider/EventSchema.ts"
export type * as Keyed from "./decider/Keyed.ts"
export type * as Labelled from "./decider/Labelled.ts"
export * as Metadata from "./decider/Metadata.ts"
export * as Process from "./decider/Process.ts"
export * as Upcaster from "./decider/Upcaster.ts"
export * as View from "./decider/View.ts"
export * as Consumers from "./projection/Consumers.ts"
export * as DocumentStore from "./projection/DocumentStore.ts"
export * as MemoryProjection from "./projection/MemoryProjection.ts"
export * as Projection from "./projection/Projection.ts"
export * as Projector from "./projection/Projector.ts"
export * as ReadModel from "./projection/ReadModel.ts"
export * as Subscription from "./projection/Subscription.ts"
export * as SubscriptionError from "./projection/SubscriptionError.ts"
export * as Category from "./store/Category.ts"
export * as CommandHandler from "./store/CommandHandler.ts"
export * as Criteria from "./store/Criteria.ts"
export * as DecisionModel from "./store/DecisionModel.ts"
export * as EventId from "./store/EventId.ts"
export * as EventStore from "./store/EventStore.ts"
export * as ExpectedVersion from "./store/ExpectedVersion.ts"
export * as NewEvent from "./store/NewEvent.ts"
export * as Position from "./store/Position.ts"
export type * as RecordedEvent from "./store/RecordedEvent.ts"
export * as StoreError from "./store/StoreError.ts"
export * as StreamId from "./store/StreamId.ts"
export * as StreamVersion from "./store/StreamVersion.ts"
export * as Tracing from "./store/Tracing.ts"
