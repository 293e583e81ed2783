/**
 * The orchestrating half: events in, commands out.
 *
 * @since 0.1.0
 */
import type { Keyed } from "./Keyed.ts"

/**
 * Events in, commands out, with a state to remember what is still to come.
 *
 * - `initialState`, `evolve`: the state, folded from the events it sees, as in a view.
 * - `react`: the commands that an event leads to. `state` is the state *after* the event.
 * - `resume`: the commands that are still to be done in a state: what has to be sent again after a crash.
 * - `isTerminal`: whether the process is over.
 *
 * @category models
 * @since 0.1.0
 */
export interface Process<in Event, in out State, out Command> {
  readonly initialState: State
  readonly evolve: (state: State, event: Event) => State
  readonly react: (state: State, event: Event) => ReadonlyArray<Keyed<Command>>
  readonly resume: (state: State) => ReadonlyArray<Keyed<Command>>
  readonly isTerminal: (state: State) => boolean
}
