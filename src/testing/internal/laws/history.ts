/**
 * The laws of a history, once a walk has made one.
 */
import * as Result from "effect/Result"
import { show } from "../show.ts"
import { type Asking, orBroken } from "./asking.ts"
import { Broken } from "./law.ts"
import type { Setup } from "./setup.ts"
import * as Storing from "./storing.ts"

/** What happened on a walk. `stateAt(k)` is the state after the first `k` events. */
export interface History<Command, State, Event, Refusal> {
  readonly stateAt: (k: number) => State
  readonly events: ReadonlyArray<Event>
  /** How each event came about, in words. */
  readonly places: ReadonlyArray<string>
  readonly asked: ReadonlyArray<{
    readonly command: Command
    readonly state: State
    readonly answer: Result.Result<ReadonlyArray<Event>, Refusal>
    readonly where: string
  }>
}

export const check = <Command, State, Event, Refusal>(
  setup: Setup<Command, State, Event, Refusal>,
  asking: Asking<Command, State, Event, Refusal>,
  history: History<Command, State, Event, Refusal>
): void => {
  askAgain(asking, history)
  splitAnywhere(asking, history)
  storeAndRead(setup, asking, history)
  readOlderForms(setup, asking, history)
  takeSnapshots(setup, asking, history)
  if (setup.everywhere) {
    foldEverywhere(setup, asking, history)
  }
}

type Law = <Command, State, Event, Refusal>(
  setup: Setup<Command, State, Event, Refusal>,
  asking: Asking<Command, State, Event, Refusal>,
  history: History<Command, State, Event, Refusal>
) => void

/** The same questions once more, the last one first: what a decider remembers between calls shows here. */
const askAgain = <Command, State, Event, Refusal>(
  { decide, evolve, same }: Asking<Command, State, Event, Refusal>,
  { asked, events, places, stateAt }: History<Command, State, Event, Refusal>
): void => {
  for (const { answer, command, state, where } of asked.toReversed()) {
    same("repeatable", `${where}, a second time`, decide(command, state, where), answer)
  }
  for (let k = events.length - 1; k >= 0; k--) {
    const place = places[k]!
    same("repeatable", `${place}, a second time`, evolve(stateAt(k), events[k]!, place), stateAt(k + 1))
  }
}

const splitAnywhere = <Command, State, Event, Refusal>(
  { foldFrom, same }: Asking<Command, State, Event, Refusal>,
  { events, stateAt }: History<Command, State, Event, Refusal>
): void => {
  for (const k of somePlaces(events.length)) {
    const where = `splitting after event ${k} of ${events.length}`
    same("split", where, foldFrom(stateAt(k), events.slice(k), where), stateAt(events.length))
  }
}

const storeAndRead: Law = ({ events: { decode, encode }, saw }, { foldFrom, same }, { events, stateAt }) => {
  for (const [k, event] of events.entries()) {
    const where = `storing ${show(event)}`
    const stored = orBroken({ law: "stored", where }, () => encode(event))
    saw.check("stored")
    if (Result.isFailure(stored)) {
      const values = { expected: "an event that fits", actual: event }
      throw new Broken({ law: "stored", where, issue: stored.failure, values })
    }
    saw.stored(stored.success)
    const read = orBroken({ law: "codec", where }, () => decode(Storing.asRead(stored.success)))
    if (Result.isFailure(read)) {
      const values = { expected: event, actual: stored.success }
      throw new Broken({ law: "codec", where, issue: `it cannot be read: ${read.failure.message}`, values })
    }
    same("codec", where, read.success, [event])
    same("codecFold", where, foldFrom(stateAt(k), read.success, where), stateAt(k + 1))
  }
}

const readOlderForms: Law = ({ decider, events: { decode }, older }, { foldFrom, same }, { events, stateAt }) => {
  for (const [which, asOlder] of events.length === 0 ? [] : older) {
    const where = `reading the history as ${which} stored it`
    const read = asOlder(events).flatMap((stored) => {
      const decoded = orBroken({ law: "older", which, where }, () => decode(Storing.asRead(stored)))
      if (Result.isFailure(decoded)) {
        const issue = `${show(stored)} cannot be read: ${decoded.failure.message}`
        throw new Broken({ law: "older", which, where, issue })
      }
      return decoded.success
    })
    same("older", where, foldFrom(decider.initialState, read, where), stateAt(events.length), which)
  }
}

const takeSnapshots: Law = ({ snapshot }, { foldFrom, same }, { events, stateAt }) => {
  for (const k of snapshot === undefined ? [] : somePlaces(events.length)) {
    const where = `taking a snapshot after event ${k} of ${events.length}`
    const restored = Storing.throughJson(snapshot!, stateAt(k), "snapshot", where) as ReturnType<typeof stateAt>
    same("snapshot", where, restored, stateAt(k))
    same("snapshotFold", where, foldFrom(restored, events.slice(k), where), stateAt(events.length))
  }
}

const foldEverywhere: Law = ({ saw }, { evolve }, { events, stateAt }) => {
  for (const k of somePlaces(events.length)) {
    for (const event of events) {
      saw.check("everywhere")
      const where = `folding ${show(event)} on the state after event ${k}, ${show(stateAt(k))}`
      try {
        evolve(stateAt(k), event, where)
      } catch (thrown) {
        throw thrown instanceof Broken && thrown.law === "evolve"
          ? new Broken({ law: "everywhere", where, issue: thrown.issue, cause: thrown.cause })
          : thrown
      }
    }
  }
}

/** Before each event and after the last; of very long histories two hundred places, evenly spread. */
const somePlaces = (length: number): ReadonlyArray<number> =>
  length < most
    ? Array.from({ length: length + 1 }, (_, k) => k)
    : Array.from({ length: most }, (_, i) => Math.round((i * length) / (most - 1)))

const most = 200
