/**
 * The smallest decider that is good for something: a light switch. Plain types, no schema, nothing to run it with.
 */
import { Result } from "effect"
import { Decider } from "effect-decider"

export type LightCommand = { readonly _tag: "TurnOn" } | { readonly _tag: "TurnOff" }
export type LightEvent = { readonly _tag: "TurnedOn" } | { readonly _tag: "TurnedOff" }

/** An empty list of events says: nothing to do. That is an answer, not a refusal. */
export const Light = Decider.tagged<LightCommand, "on" | "off", LightEvent>()({
  initialState: "off",
  decide: {
    TurnOn: (_, state) => Result.succeed(state === "on" ? [] : [{ _tag: "TurnedOn" }]),
    TurnOff: (_, state) => Result.succeed(state === "off" ? [] : [{ _tag: "TurnedOff" }])
  },
  evolve: {
    TurnedOn: () => "on",
    TurnedOff: () => "off"
  }
})
