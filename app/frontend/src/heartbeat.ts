/** The beat of a page's signs of life, and its last one. */

/**
 * Call `act` every so many seconds and whenever the page is seen again, and `leave` when it goes.
 *
 * The answer ends it.
 */
export function heartbeat(seconds: number, act: () => void, leave: () => void): () => void {
  const timer = setInterval(act, seconds * 1000);
  const end = new AbortController();
  const { signal } = end;
  const onSeen = (): void => {
    if (document.visibilityState === "visible") act();
  };
  document.addEventListener("visibilitychange", onSeen, { signal });
  window.addEventListener("pagehide", leave, { signal });
  return () => {
    clearInterval(timer);
    end.abort();
  };
}
