/**
 * The texts that begin with a prefix, as a range in the order of their bytes in UTF-8.
 */

/**
 * The first text after all that begin with a prefix; none when every text does, or none comes after.
 */
export const end = (prefix: string): string | undefined => {
  const points = Array.from(prefix, (character) => character.codePointAt(0)!)
  while (points.length > 0) {
    const last = points.pop()!
    if (last < 0x10ffff) {
      // Surrogates are no characters.
      return String.fromCodePoint(...points, last === 0xd7ff ? 0xe000 : last + 1)
    }
  }
  return undefined
}
