/**
 * Those who listen to the changes of a store, and what each of them was told.
 *
 * A listener has no queue: it knows the newest head and the last one it was told, and is told again when they differ. So
 * however slow it is, it costs the same, and what it is told next is always the newest.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Position } from "../../store/Position.ts"
import type { ReadError } from "../../store/StoreError.ts"

/**
 * One who listens.
 */
export interface Listener {
  /** The number of the last look at the head that began before it listened; the result of that one may be too old. */
  readonly since: number
  head: Position
  told: Position
  /** What its stream ends with. */
  end: Effect.Effect<never, ReadError> | undefined
  wake: (() => void) | undefined
}

/**
 * All who listen.
 */
export class Listeners {
  private readonly all = new Set<Listener>()

  get isEmpty(): boolean {
    return this.all.size === 0
  }

  /**
   * Adds one who is told as soon as there is a head, also when that is the origin.
   */
  join(since: number, head: Position = unknown): Listener {
    const listener: Listener = { since, head, told: unknown, end: undefined, wake: undefined }
    this.all.add(listener)
    return listener
  }

  leave(listener: Listener): void {
    this.all.delete(listener)
  }

  /**
   * Tells the head that the look with this number has found.
   */
  publish(head: Position, look: number): void {
    for (const listener of this.all) {
      if (listener.since < look) {
        listener.head = head
        wake(listener)
      }
    }
  }

  /**
   * Ends the streams of those who wait for the look with this number.
   */
  end(how: Effect.Effect<never, ReadError>, look: number): void {
    for (const listener of this.all) {
      if (listener.since < look) {
        listener.end = how
        wake(listener)
      }
    }
  }
}

/**
 * What a listener is told, for as long as it asks.
 */
export const stream = (listener: Listener): Stream.Stream<Position, ReadError> =>
  Stream.fromEffectRepeat(next(listener))

const unknown = -1n as Position

const hasNews = (listener: Listener): boolean => listener.head > listener.told || listener.end !== undefined

const wake = (listener: Listener): void => {
  if (listener.wake !== undefined && hasNews(listener)) {
    listener.wake()
  }
}

const next = (listener: Listener): Effect.Effect<Position, ReadError> =>
  Effect.suspend(() => {
    if (listener.end !== undefined) {
      return listener.end
    }
    if (listener.head > listener.told) {
      listener.told = listener.head
      return Effect.succeed(listener.told)
    }
    return Effect.andThen(news(listener), next(listener))
  })

// Looks once more when it is in place, so nothing comes between the look and the wait. And it yields before it goes on:
// otherwise a listener would run inside the call of whoever published, an append for example.
const news = (listener: Listener): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    if (hasNews(listener)) {
      return resume(Effect.void)
    }
    listener.wake = () => {
      listener.wake = undefined
      resume(Effect.yieldNow)
    }
    return Effect.sync(() => {
      listener.wake = undefined
    })
  })
