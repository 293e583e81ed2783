import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { Webhook } from "effect-decider"

const secret = Redacted.make("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
const next = Redacted.make("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")
const stranger = Redacted.make("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")

const id = "msg_p5jXN8AQM9LWM0D4loKWxJek"
const body = '{"test": 2432232314}'

const reasonOf = <A>(effect: Effect.Effect<A, Webhook.NotVerified>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => reason)

describe("Webhook", () => {
  it.effect("signs as others do", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(1_614_265_330_000)
      const webhook = yield* Webhook.make({ secrets: [secret] })
      const headers = yield* webhook.sign(id, body)
      // The example of the specification's own libraries.
      assert.deepStrictEqual(headers, {
        "webhook-id": id,
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
      })
      assert.deepStrictEqual(yield* webhook.verify(headers, new TextEncoder().encode(body)), {
        id,
        timestamp: 1_614_265_330
      })
      const bare = yield* Webhook.make({ secrets: [Redacted.make(Redacted.value(secret).slice("whsec_".length))] })
      assert.deepStrictEqual(yield* bare.sign(id, body), headers)
    })
  )

  it.effect("a secret is changed without losing a message, at whichever end first", () =>
    Effect.gen(function* () {
      const [old, both, fresh, other] = yield* Effect.all(
        ([[secret], [next, secret], [next], [stranger]] as const).map((secrets) => Webhook.make({ secrets }))
      )
      for (const [from, to] of [
        [old, both],
        [both, old],
        [both, fresh],
        [fresh, both]
      ] as const) {
        assert.strictEqual((yield* to!.verify(yield* from!.sign(id, body), body)).id, id)
      }
      for (const [from, to] of [
        [old, fresh],
        [other, both]
      ] as const) {
        assert.strictEqual(yield* reasonOf(to!.verify(yield* from!.sign(id, body), body)), "Forged")
      }
    })
  )

  it.effect("nothing that was changed is taken", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(1_614_265_330_000)
      const webhook = yield* Webhook.make({ secrets: [secret] })
      const headers = yield* webhook.sign(id, body)
      const signature = headers["webhook-signature"]
      for (const [changed, reason] of [
        [{ "webhook-id": `${id}x` }, "Forged"],
        [{ "webhook-timestamp": "1614265331" }, "Forged"],
        [{ "webhook-timestamp": "01614265330" }, "Forged"],
        [{ "webhook-signature": "v1," }, "Forged"],
        [{ "webhook-signature": signature.slice(0, 8) }, "Forged"],
        [{ "webhook-signature": signature.replace("v1,", "v2,") }, "Forged"],
        [{ "webhook-signature": signature.replace("g0", "g1") }, "Forged"],
        [{ "webhook-id": undefined }, "Malformed"],
        [{ "webhook-id": [id, id] }, "Malformed"],
        [{ "webhook-signature": "" }, "Malformed"],
        [{ "webhook-timestamp": "hello" }, "Malformed"],
        [{ "webhook-timestamp": "1614265330.5" }, "Malformed"],
        [{ "webhook-timestamp": "-1" }, "Malformed"]
      ] as const) {
        assert.strictEqual(
          yield* reasonOf(webhook.verify({ ...headers, ...changed }, body)),
          reason,
          JSON.stringify(changed)
        )
      }
      assert.strictEqual(yield* reasonOf(webhook.verify(headers, `${body} `)), "Forged")
      const among = { ...headers, "webhook-signature": `v1,AAAA v1a,${signature.slice(3)} ${signature} v1,%` }
      assert.strictEqual((yield* webhook.verify(among, body)).id, id)
    })
  )

  it.effect("what is too old is refused, and what comes from the future", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(1_614_265_330_999)
      const webhook = yield* Webhook.make({ secrets: [secret] })
      const strict = yield* Webhook.make({ secrets: [secret], tolerance: "1 second" })
      const headers = yield* webhook.sign(id, body)
      yield* TestClock.setTime(1_614_265_330_000 + 300_000)
      assert.strictEqual((yield* webhook.verify(headers, body)).id, id)
      yield* TestClock.setTime(1_614_265_330_000 + 301_000)
      assert.strictEqual(yield* reasonOf(webhook.verify(headers, body)), "Untimely")
      yield* TestClock.setTime(1_614_265_330_000 - 301_000)
      const early = yield* Effect.flip(webhook.verify(headers, body))
      assert.include(early.message, "it was signed 301 seconds from now, and 300 are tolerated")
      yield* TestClock.setTime(1_614_265_332_000)
      assert.strictEqual(yield* reasonOf(strict.verify(headers, body)), "Untimely")
    })
  )

  it.effect("secrets and ids that make a signature weak are refused", () =>
    Effect.gen(function* () {
      for (const [wrong, issue] of [
        ["", "it has 0 bytes"],
        ["whsec_", "it has 0 bytes"],
        ["whsec_c2hvcnQ=", "it has 5 bytes"],
        ["whsec_not base64!", "no Base64"],
        [`whsec_${"A".repeat(88)}`, "it has 66 bytes"]
      ] as const) {
        const refused = yield* Effect.flip(Webhook.make({ secrets: [Redacted.make(wrong)] }))
        assert.include(refused.message, issue)
      }
      const webhook = yield* Webhook.make({ secrets: [secret] })
      for (const wrong of ["", "a.b", "a b", "a\n", "ä"]) {
        assert.strictEqual((yield* Effect.flip(webhook.sign(wrong, body))).id, wrong)
      }
    })
  )
})
