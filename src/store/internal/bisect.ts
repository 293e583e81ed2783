/**
 * Finds a place in what is sorted.
 */

/**
 * How many of the first so many indices belong before a place: `isBefore` is true for some of them and then for none.
 */
export const countBefore = (length: number, isBefore: (index: number) => boolean): number => {
  let low = 0
  let high = length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (isBefore(middle)) {
      low = middle + 1
    } else {
      high = middle
    }
  }
  return low
}
