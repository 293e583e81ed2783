/**
 * Commands and events that carry the key they belong to: the words of `many`, and of a process's follow-ups.
 *
 * @since 0.1.0
 */

/**
 * A command with a key.
 *
 * To `many` the key is the one the command is for. In a process it names the command: two commands with the same key are
 * the same command, given once or repeated.
 *
 * @category models
 * @since 0.1.0
 */
export interface Keyed<out Command> {
  readonly key: string
  readonly command: Command
}

/**
 * An event of one key.
 *
 * @category models
 * @since 0.1.0
 */
export interface KeyedEvent<out Event> {
  readonly key: string
  readonly event: Event
}
