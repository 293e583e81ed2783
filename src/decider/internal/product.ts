/** What deciders and views share: how a state of several parts takes an event. */
import * as HashMap from "effect/HashMap"

interface Part {
  readonly initialState: any
  readonly evolve: (state: any, event: any) => any
}

type Parts = { readonly [label: string]: Part }

/** The state of each part by its label. */
export const initialStates = (parts: Parts): any => {
  const states: Record<string, unknown> = {}
  for (const label of Object.keys(parts)) {
    states[label] = parts[label]!.initialState
  }
  return states
}

/** An event goes to the one part it is labelled with. The states are copied only when it changes one. */
export const evolveLabelled =
  (parts: Parts) =>
  (states: any, { _tag, event }: any) => {
    const before = states[_tag]
    const after = parts[_tag]!.evolve(before, event)
    if (after === before) {
      return states
    }
    // Twice as fast as `{ ...states, [_tag]: after }`.
    const next = { ...states }
    next[_tag] = after
    return next
  }

/** An event goes to every part. The states are copied once at most. */
export const evolveAll = (parts: Parts) => {
  const labels = Object.keys(parts)
  return (states: any, event: any) => {
    let next = states
    for (const label of labels) {
      const before = states[label]
      const after = parts[label]!.evolve(before, event)
      if (after !== before) {
        next = next === states ? { ...states } : next
        next[label] = after
      }
    }
    return next
  }
}

/** The state of a key: the initial state until an event has changed it. */
export const stateOf = <State>(states: HashMap.HashMap<string, State>, key: string, initialState: State): State => {
  const found = HashMap.get(states, key)
  return found._tag === "Some" ? found.value : initialState
}

/** An event goes to the state of its key. */
export const evolveKeyed =
  <State, Event>(part: { readonly initialState: State; readonly evolve: (state: State, event: Event) => State }) =>
  (states: HashMap.HashMap<string, State>, keyed: { readonly key: string; readonly event: Event }) => {
    const before = stateOf(states, keyed.key, part.initialState)
    const after = part.evolve(before, keyed.event)
    if (after === before) {
      return states
    }
    // What is as at the beginning takes no room, so a state is as large as what is going on and not as its history.
    return after === part.initialState ? HashMap.remove(states, keyed.key) : HashMap.set(states, keyed.key, after)
  }
