/**
 * How the projections of a Projector enter what the database knows of projections.
 */
import * as Effect from "effect/Effect"
import type { StoreUnavailable } from "../../store/StoreError.ts"
import { type Active, ActiveProjections } from "../ActiveProjections.ts"
import { ProjectionChanged } from "../ProjectionChanged.ts"
import type * as Names from "./names.ts"

/**
 * The newest version of each projection that is there.
 */
export const newestOf = <P extends Names.Named>(projections: ReadonlyArray<P>): ReadonlyArray<P> => {
  const newest = new Map<string, P>()
  for (const projection of projections) {
    if (projection.version > (newest.get(projection.name)?.version ?? 0)) {
      newest.set(projection.name, projection)
    }
  }
  return Array.from(newest.values())
}

/**
 * Notes that a Projector runs it, unless it is made inline. Answers which version is the one to read.
 */
export const registered = Effect.fnUntraced(function* ({
  name,
  version
}: Names.Named): Effect.fn.Return<Active, ProjectionChanged | StoreUnavailable, ActiveProjections> {
  const active = yield* ActiveProjections
  while (true) {
    const found = yield* active.get(name)
    if (found?.isInline === true) {
      const issue =
        `its version ${found.version} is made inline, with each append; give this one another name, or take that one away ` +
        "with `Inline.deactivate`"
      return yield* new ProjectionChanged({ projection: name, version, active: found.version, issue })
    }
    const first = { name, version, isInline: false }
    if (found !== undefined || (yield* active.activate(first, undefined))) {
      return found ?? first
    }
  }
})
