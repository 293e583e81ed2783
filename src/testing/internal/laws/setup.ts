/**
 * What a walk is given: the decider, what to look at beyond the laws that always hold, and who counts.
 */
import type * as Result from "effect/Result"
import type { Decider } from "../../../decider/Decider.ts"
import type { EncodedEvent, EventSchema } from "../../../decider/EventSchema.ts"

/** One generated step: a command as it was generated, and the chance that decides what becomes of it. Zero: nothing. */
export interface Step<Command> {
  readonly command: Command
  readonly dice: number
}

export type Stored = Pick<EncodedEvent, "type" | "schemaVersion" | "data">

export interface Codec {
  readonly encode: (value: any) => Result.Result<unknown, string>
  readonly decode: (json: unknown) => Result.Result<unknown, string>
}

export interface Setup<Command, State, Event, Refusal> {
  readonly decider: Decider<Command, State, Event, Refusal>
  readonly events: EventSchema<Event>
  readonly snapshot: Codec | undefined
  readonly refusal: Codec | undefined
  /** Whether a command that was put together from heard values is one. Without it nothing is put together. */
  readonly isCommand: ((command: unknown) => boolean) | undefined
  readonly refer:
    | ((
        command: Command,
        context: {
          readonly state: State
          readonly events: ReadonlyArray<Event>
          readonly pick: <A>(values: Iterable<A>) => A | undefined
        }
      ) => Command)
    | undefined
  readonly older: ReadonlyArray<readonly [name: string, (events: ReadonlyArray<Event>) => ReadonlyArray<Stored>]>
  readonly closed: boolean
  readonly everywhere: boolean
  readonly idempotent: ((command: Command) => boolean) | undefined
  readonly reference: Decider<Command, any, Event, Refusal> | undefined
  readonly invariants: {
    readonly state: ReadonlyArray<readonly [string, (state: State) => unknown]>
    readonly event: ReadonlyArray<readonly [string, (moment: any) => unknown]>
    readonly decision: ReadonlyArray<readonly [string, (decision: any) => unknown]>
  }
  /** Told what was looked at. */
  readonly saw: {
    readonly check: (law: string) => void
    readonly state: (state: State) => void
    readonly asked: (command: Command, answer: Result.Result<ReadonlyArray<Event>, Refusal>) => void
    readonly stored: (stored: EncodedEvent) => void
  }
}
