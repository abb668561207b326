/**
 * Waits for work at most `timeoutMs`. The work itself goes on; the caller ends it.
 * @throws an error with code `ETIMEDOUT`, the signal's reason, or the work's own error
 */
export async function withinTime<T>(timeoutMs: number, signal: AbortSignal, work: Promise<T>): Promise<T> {
  let stop = (): void => {};
  const ended = new Promise<never>((_, reject) => {
    const leave = (): void => reject(signal.reason);
    const late = (): void => reject(Object.assign(new Error('it took too long'), { code: 'ETIMEDOUT' }));
    const timer = setTimeout(late, Math.max(0, timeoutMs));
    signal.addEventListener('abort', leave, { once: true });
    if (signal.aborted) leave();
    stop = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', leave);
    };
  });
  work.catch(() => {});
  try {
    return await Promise.race([work, ended]);
  } finally {
    stop();
  }
}
