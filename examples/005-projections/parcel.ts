/**
 * A parcel on its way from depot to depot. Pure; it knows nothing of who wants to read about it.
 */
import { Result, Schema } from "effect"
import { Category, CommandHandler, Decider, EventSchema } from "effect-decider"

export const ParcelEvent = Schema.TaggedUnion({
  Posted: { to: Schema.String, grams: Schema.Int },
  Arrived: { depot: Schema.String },
  Left: { depot: Schema.String },
  Delivered: { attempts: Schema.Int }
})
export type ParcelEvent = typeof ParcelEvent.Type

export const ParcelCommand = Schema.TaggedUnion({
  Post: { to: Schema.String, grams: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 30_000 })) },
  Scan: { depot: Schema.String },
  Deliver: { attempts: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 3 })) }
})
export type ParcelCommand = typeof ParcelCommand.Type

export const Parcel = Schema.Union([
  Schema.Literals(["unknown", "posted", "on its way", "delivered"]),
  Schema.Struct({ depot: Schema.String })
])
export type Parcel = typeof Parcel.Type

export class NotUnderWay extends Schema.TaggedError<NotUnderWay>()("NotUnderWay", { parcel: Parcel }) {}

const { Arrived, Delivered, Left, Posted } = ParcelEvent.cases

/** A scan at the depot where the parcel is says that it leaves; a scan anywhere else, that it has arrived there. */
export const ParcelDecider = Decider.tagged<ParcelCommand, Parcel, ParcelEvent>()({
  initialState: "unknown",
  decide: {
    Post: ({ grams, to }, parcel) => Result.succeed(parcel === "unknown" ? [Posted.make({ to, grams })] : []),
    Scan: ({ depot }, parcel) => {
      if (parcel === "unknown" || parcel === "delivered") {
        return Result.fail(new NotUnderWay({ parcel }))
      }
      if (typeof parcel === "string") {
        return Result.succeed([Arrived.make({ depot })])
      }
      const left = Left.make({ depot: parcel.depot })
      return Result.succeed(parcel.depot === depot ? [left] : [left, Arrived.make({ depot })])
    },
    Deliver: ({ attempts }, parcel) =>
      parcel === "on its way"
        ? Result.succeed([Delivered.make({ attempts })])
        : Result.fail(new NotUnderWay({ parcel }))
  },
  evolve: {
    Posted: () => "posted",
    Arrived: (_, { depot }) => ({ depot }),
    Left: () => "on its way",
    Delivered: () => "delivered"
  }
})

export const ParcelCategory = Category.make("parcel", {
  decider: ParcelDecider,
  events: EventSchema.make({ event: ParcelEvent })
})

export class Parcels extends CommandHandler.Service<Parcels>()("example/Parcels", { category: ParcelCategory }) {}
