import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { stores } from "./stores.ts"

const deadline = (instance: string, key: string, dueAt: number) => ({ process: "p", instance, key, dueAt })

describe("Deadlines", () => {
  for (const [name, make] of Object.entries(stores)) {
    it.live(`on ${name}: added, moved and removed, once or twice, in transactions or not`, () =>
      Effect.gen(function* () {
        const { deadlines, store } = yield* Effect.flatten(make)
        const keys = (options?: { readonly instance?: string; readonly limit?: number }) =>
          Effect.map(deadlines.list("p", options), (found) => found.map(({ instance, key }) => `${instance} ${key}`))
        const [late, soon, same] = [deadline("a", "late", 9e12), deadline("a", "soon", 1), deadline("b", "late", 2)]

        yield* deadlines.change([late, soon, same, { ...same, process: "q" }], [])
        yield* deadlines.change([late, { ...late, dueAt: 3 }], [deadline("b", "none", 1)])
        assert.deepStrictEqual(yield* keys(), ["a soon", "b late", "a late", "a late"])
        assert.deepStrictEqual(yield* keys({ instance: "b" }), ["b late"])
        assert.deepStrictEqual(yield* keys({ limit: 2 }), ["a soon", "b late"])
        assert.deepStrictEqual(yield* deadlines.list("p", { limit: 1 }), [
          { ...soon, wakeAt: 1, attempts: 0, error: undefined }
        ])

        yield* deadlines.postpone(soon, 50, "no\u0000")
        yield* deadlines.postpone(soon, 100, "no\u0000")
        yield* deadlines.postpone(deadline("a", "gone", 1), 100, "")
        // Added again it stays as it is.
        yield* deadlines.change([soon], [])
        const [, , postponed] = yield* deadlines.list("p")
        assert.deepInclude(postponed, { ...soon, wakeAt: 100, attempts: 2 })
        assert.isTrue(postponed!.error!.startsWith("no"))

        const failed = store.withTransaction(Effect.andThen(deadlines.change([], [soon, same]), Effect.fail("no")))
        assert.strictEqual(yield* Effect.flip(failed), "no")
        assert.strictEqual((yield* keys()).length, 4)
        yield* store.withTransaction(deadlines.change([], [soon, same]))
        yield* deadlines.change([], [soon, { ...late, dueAt: 3 }])
        assert.deepStrictEqual(yield* deadlines.list("p"), [{ ...late, wakeAt: 9e12, attempts: 0, error: undefined }])
        assert.strictEqual((yield* deadlines.list("q")).length, 1)
      })
    )
  }
})
