/**
 * Keeps texts that no store holds out of what is generated to be stored.
 */
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import * as Stored from "../../store/internal/stored.ts"

/**
 * Whether stores take it. Texts with U+0000 or half of a character are generated like any others, and no store takes them.
 */
export const isStorable = (value: Schema.Json): boolean => Result.isSuccess(Stored.plain(value))
