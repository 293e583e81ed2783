/**
 * Commands and events that carry the label of the part they belong to: the words of `compose` and `composeAll`.
 *
 * The label is the `_tag`, so composed commands and events are tagged unions like any other. Labels are names in code:
 * nothing of them is stored (see `EventSchema.composeAll`).
 *
 * @since 0.1.0
 */

/**
 * A command for the part with that label.
 *
 * @category models
 * @since 0.1.0
 */
export interface LabelledCommand<out Label extends string, out Command> {
  readonly _tag: Label
  readonly command: Command
}

/**
 * An event of the part with that label.
 *
 * @category models
 * @since 0.1.0
 */
export interface LabelledEvent<out Label extends string, out Event> {
  readonly _tag: Label
  readonly event: Event
}
