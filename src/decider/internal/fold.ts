/** The one loop behind every fold. */

interface Foldable<State, Event> {
  readonly evolve: (state: State, event: Event) => State
}

export const foldFrom = <State, Event>(self: Foldable<State, Event>, state: State, events: Iterable<Event>): State => {
  const evolve = self.evolve
  if (isArray(events)) {
    // Histories are arrays, and counting is up to twice as fast as iterating.
    for (let i = 0; i < events.length; i++) {
      state = evolve(state, events[i]!)
    }
    return state
  }
  for (const event of events) {
    state = evolve(state, event)
  }
  return state
}

const isArray: <A>(values: Iterable<A>) => values is ReadonlyArray<A> = Array.isArray
