/**
 * The vending machine as a service: one stream `machine-<id>` each, on whatever event store `main` picks.
 */
import { Category, CommandHandler, EventSchema } from "effect-decider"
import { Event, VendingMachine } from "./vending.ts"

export const MachineCategory = Category.make("machine", {
  decider: VendingMachine,
  events: EventSchema.make({ event: Event })
})

export class Machines extends CommandHandler.Service<Machines>()("examples/002/Machines", {
  category: MachineCategory
}) {}
