import process from 'node:process';

/** SIGTERM and SIGINT in the order in which they come, none lost. */
export function signalQueue(): { next(): Promise<NodeJS.Signals> } {
  const came: NodeJS.Signals[] = [];
  let waiting: ((signal: NodeJS.Signals) => void) | undefined;
  for (const name of ['SIGTERM', 'SIGINT'] as const)
    process.on(name, () => {
      if (waiting === undefined) came.push(name);
      else {
        waiting(name);
        waiting = undefined;
      }
    });
  return {
    next: () =>
      new Promise(resolve => {
        const first = came.shift();
        if (first === undefined) waiting = resolve;
        else resolve(first);
      }),
  };
}
