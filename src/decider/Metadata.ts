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
 * - `traceparent`: the W3C trace context of the span that appended it.
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
