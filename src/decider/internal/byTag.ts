/** What there is for each `_tag`. */

interface Tagged {
  readonly _tag: string
}

/**
 * Finds what there is for the tag of a command or an event, by its own names only: every object has a `toString` that nobody
 * gave it. What has no such tag is a defect that says which ones there are.
 */
export const make = <A>(
  what: "a command" | "an event",
  given: { readonly [tag: string]: A }
): ((value: Tagged) => A) => {
  const own: { readonly [tag: string]: A } = Object.setPrototypeOf({ ...given }, null)
  // Its type says that there is a value, and that it has a tag. Who did not decode it knows no types.
  return (value: Tagged | null | undefined) => {
    const tag: unknown = value?._tag
    const found = own[tag as string]
    if (found === undefined) {
      const got =
        typeof tag === "string"
          ? JSON.stringify(tag)
          : value === null || value === undefined
            ? value
            : "a value without a tag"
      throw new TypeError(`Expected ${what} tagged ${Object.keys(own).join(" or ")}, got ${got}. Decode what comes in.`)
    }
    return found
  }
}
