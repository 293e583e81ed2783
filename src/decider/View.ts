/**
 * The read half of a decider: a state folded from events.
 *
 * @since 0.1.0
 */

/**
 * A state folded from events.
 *
 * - `initialState`: the state before the first event.
 * - `evolve`: the state after an event. Total, like a decider's.
 *
 * Every decider is a view of its own events.
 *
 * @category models
 * @since 0.1.0
 */
export interface View<in out State, in Event> {
  readonly initialState: State
  readonly evolve: (state: State, event: Event) => State
}
