import * as ByHand from "./byHand.ts"
import { castore } from "./castore.ts"
import type { Library } from "./contender.ts"
import { dcb } from "./dcb.ts"
import { emmett } from "./emmett.ts"
import { effectDecider } from "./ours.ts"

/** The floor first. */
export const libraries: ReadonlyArray<Library> = [ByHand.pg, ByHand.sqlPg, effectDecider, emmett, castore, dcb]
