/**
 * Who and why: what is known about an event besides its content.
 *
 * Metadata is stored beside each event and is never an argument of `decide` or `evolve`. What a decision needs belongs
 * into the command.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Schema from "effect/Schema"

/**
 * The metadata of an event: five well-known fields, and free-form JSON beside them. The program sets them, by
 * {@link Current} or when it executes a command.
 *
 * - `correlationId`: the same for everything that one request set in motion.
 * - `causationId`: the id of the event or command that directly led to this event.
 * - `commandId`: the id of the command that was decided.
 * - `actor`: who asked for it, for example a user id.
 * - `traceparent`: the W3C trace context of the span that led to it, so that whoever reads the event can go on with its trace.
 *   `NewEvent.make` and command handlers set it to the current span's, unless the program has set it.
 *
 * @category models
 * @since 0.1.0
 */
export type Metadata = {
  readonly correlationId?: string
  readonly causationId?: string
  readonly commandId?: string
  readonly actor?: string
  readonly traceparent?: string
} & { readonly [field: string]: Schema.Json }

/**
 * No metadata.
 *
 * @category constructors
 * @since 0.1.0
 */
export const empty: Metadata = {}

/**
 * The metadata of what follows from an event: the event is its cause, and it belongs to whatever the event belongs to.
 *
 * What belongs together has the correlation id of the first event, or its id if it has none. The actor stays. The other
 * fields are about that event alone and are left out.
 *
 * **Example** (A receipt that follows from a payment)
 *
 * ```ts
 * import { Metadata } from "effect-decider"
 *
 * const paid = { id: "event-7", metadata: { actor: "user-3", commandId: "payment-1" } }
 * const followUp = Metadata.causedBy(paid)
 * followUp // => { correlationId: "event-7", causationId: "event-7", actor: "user-3" }
 *
 * const printed = { id: "event-8", metadata: followUp }
 * Metadata.causedBy(printed) // => { correlationId: "event-7", causationId: "event-8", actor: "user-3" }
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const causedBy = ({ id, metadata }: { readonly id: string; readonly metadata: Metadata }): Metadata => ({
  correlationId: metadata.correlationId ?? id,
  causationId: id,
  ...(metadata.actor === undefined ? undefined : { actor: metadata.actor })
})

/**
 * Schema for {@link Metadata}.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Metadata: Schema.Codec<Metadata, Schema.JsonObject> = Schema.StructWithRest(
  Schema.Struct({
    correlationId: Schema.optionalKey(Schema.String),
    causationId: Schema.optionalKey(Schema.String),
    commandId: Schema.optionalKey(Schema.String),
    actor: Schema.optionalKey(Schema.String),
    traceparent: Schema.optionalKey(Schema.String)
  }),
  [Schema.JsonObject]
)

/**
 * The metadata that everything appended by the current fiber carries.
 *
 * **Example** (Recording who asked)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Metadata } from "effect-decider"
 *
 * const whoAsked = Effect.map(Metadata.Current, (metadata) => metadata.actor)
 *
 * Effect.runSync(whoAsked.pipe(Effect.provideService(Metadata.Current, { actor: "user-7" }))) // => "user-7"
 * Effect.runSync(whoAsked) // => undefined
 * ```
 *
 * @category services
 * @since 0.1.0
 */
export const Current: Context.Reference<Metadata> = Context.Reference<Metadata>(
  "effect-decider/decider/Metadata/Current",
  { defaultValue: () => empty }
)
