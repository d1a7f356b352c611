/** Use the browser's store where it lets us; null where it does not. */
export function recall<T>(use: () => T): T | null {
  try {
    return use();
  } catch {
    return null;
  }
}
