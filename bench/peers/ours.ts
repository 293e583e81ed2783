import { Effect } from "effect"
import { openStore } from "../postgres.ts"
import { byPosition, caughtUp } from "../projector.ts"
import { appendTo, carts, fill, newEvents, newItem, newMetadata, streamOf } from "../workload.ts"
import type { Library } from "./contender.ts"

export const effectDecider: Library = {
  name: "effect-decider",
  kind: "ours",
  open: Effect.fnUntraced(function* ({ sql }) {
    const store = yield* openStore(sql)
    const handler = yield* carts(store)
    return {
      create: (id, events) => appendTo(store)(streamOf(id), 0, newEvents(events)),
      fold: (id) => Effect.map(handler.state(id), ({ state }) => state),
      add: (id) =>
        handler
          .execute(id, newItem(), { metadata: newMetadata() })
          .pipe(Effect.catchTag("VersionConflict", () => Effect.succeed(false))),
      project: ({ events, keys }) => Effect.as(fill(store, events), caughtUp({ sql, store }, "keys", byPosition(keys)))
    }
  })
}
