/**
 * Counts what a check of the laws came across.
 */
import * as Result from "effect/Result"
import { show } from "../show.ts"
import { type Kind, kindOf, nameOf } from "./tags.ts"
import type { Setup } from "./setup.ts"

export interface Tally {
  readonly saw: Setup<any, any, any, any>["saw"]
  readonly states: ReadonlySet<string>
  readonly asked: ReadonlyMap<string, number>
  readonly accepted: ReadonlyMap<string, number>
  readonly refusals: ReadonlyMap<string, number>
  /** By stored type. */
  readonly events: ReadonlyMap<string, number>
  readonly laws: ReadonlyMap<string, number>
}

export const make = (kinds: ReadonlyArray<Kind>): Tally => {
  const states = new Set<string>()
  const asked = new Map<string, number>()
  const accepted = new Map<string, number>()
  const refusals = new Map<string, number>()
  const events = new Map<string, number>()
  const laws = new Map<string, number>()
  return {
    states,
    asked,
    accepted,
    refusals,
    events,
    laws,
    saw: {
      check: (law) => add(laws, law),
      state: (state) => states.add(show(state, Infinity)),
      asked: (command, answer) => {
        const tag = kindOf(command, kinds)
        add(asked, tag)
        if (Result.isSuccess(answer)) {
          add(accepted, tag)
        } else {
          add(refusals, nameOf(answer.failure))
        }
      },
      stored: (stored) => add(events, stored.type)
    }
  }
}

const add = (counts: Map<string, number>, key: string): void => {
  counts.set(key, (counts.get(key) ?? 0) + 1)
}
