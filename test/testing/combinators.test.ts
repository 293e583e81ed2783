import { describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import { CommandSchema, Decider, EventSchema } from "effect-decider"
import { DeciderLaws } from "effect-decider/testing"
import {
  composeAllByHand,
  manyByHand,
  Purse,
  PurseCommand,
  type PurseEvent,
  PurseEvents,
  PurseState
} from "./fixtures/byHand.ts"

// Each combinator against a model that folds whole histories. The mutants of them are in test/mutants.
const seeds = [1, 2, 3]

const keys = Schema.Literals(["a", "b", "c"])
/** Few keys, so that commands meet. */
const keyed = <Command>(command: Schema.Codec<Command, any>) => Schema.Struct({ key: keys, command })

describe.each(seeds)("the laws with seed %i", (seed) => {
  it("many", () =>
    DeciderLaws.assert({
      seed,
      decider: Decider.many(Purse),
      command: keyed(PurseCommand),
      event: EventSchema.many(PurseEvents),
      state: Schema.HashMap(Schema.String, PurseState),
      reference: manyByHand(Purse)
    }))

  it("composeAll", () => {
    const parts = { one: Purse, two: Purse, three: Purse }
    DeciderLaws.assert({
      seed,
      decider: Decider.composeAll(parts),
      command: CommandSchema.composeAll({ one: PurseCommand, two: PurseCommand, three: PurseCommand }),
      event: EventSchema.composeAll({
        one: PurseEvents,
        two: EventSchema.mapType(PurseEvents, (type) => `Two${type}`),
        three: EventSchema.mapType(PurseEvents, (type) => `Three${type}`)
      }),
      state: Schema.Struct({ one: PurseState, two: PurseState, three: PurseState }),
      terminal: "refuses",
      reference: composeAllByHand(parts)
    })
  })

  it("many of a composition, beside one", () => {
    const pair = Decider.compose(Purse, Purse)
    const pairs = Decider.many(pair)
    DeciderLaws.assert({
      seed,
      decider: Decider.composeAll({ pairs, single: Purse }),
      command: CommandSchema.composeAll({
        pairs: keyed(CommandSchema.compose(PurseCommand, PurseCommand)),
        single: PurseCommand
      }),
      event: EventSchema.composeAll({
        pairs: EventSchema.many(
          EventSchema.compose(
            PurseEvents,
            EventSchema.mapType(PurseEvents, (type) => `Right${type}`)
          )
        ),
        single: EventSchema.mapType(PurseEvents, (type) => `Single${type}`)
      }),
      state: Schema.Struct({
        pairs: Schema.HashMap(Schema.String, Schema.Struct({ left: PurseState, right: PurseState })),
        single: PurseState
      }),
      reference: composeAllByHand({ pairs: manyByHand(composeAllByHand({ left: Purse, right: Purse })), single: Purse })
    })
  })

  it("the mappings, there and back", () => {
    const there = Decider.dimap(Purse, {
      command: ({ wrapped }: { readonly wrapped: PurseCommand }) => wrapped,
      event: { getResult: (event: PurseEvent) => Result.succeed(event), set: (event) => event }
    })
    DeciderLaws.assert({
      seed,
      decider: Decider.mapError(
        Decider.mapState(
          Decider.mapCommand(there, (wrapped: PurseCommand) => ({ wrapped })),
          { get: String, set: (text): PurseState => (text === "shut" ? "shut" : Number(text)) }
        ),
        (refusal) => refusal
      ),
      command: PurseCommand,
      event: PurseEvents,
      state: Schema.String,
      terminal: "refuses",
      reference: Purse
    })
  })
})
