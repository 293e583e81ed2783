/**
 * What services were made of, for what builds another one of the same parts.
 */
import type { EventStore, Primitives } from "../EventStore.ts"

const made = new WeakMap<EventStore["Service"], Primitives>()

/**
 * Notes what a service was made of.
 */
export const note = (service: EventStore["Service"], primitives: Primitives): EventStore["Service"] => {
  made.set(service, primitives)
  return service
}

/**
 * What a service was made of, if it is one that `EventStore.make` has made.
 */
export const of = (service: EventStore["Service"]): Primitives | undefined => made.get(service)
