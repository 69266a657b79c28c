/** A thread that does what it is told, well or badly. */
export default async function work(task: {
  readonly kind: 'fine' | 'crash' | 'hang' | 'leak' | 'late';
  readonly id: number;
}): Promise<number> {
  switch (task.kind) {
    case 'fine':
      return Promise.resolve(task.id);
    case 'crash':
      process.exit(1);
      break;
    case 'late':
      setTimeout(() => {
        throw new Error('nobody waits for this');
      }, 10);
      return Promise.resolve(task.id);
    case 'hang':
      for (;;) if (task.id < 0) return 0;
    case 'leak': {
      const kept: number[][] = [];
      for (;;) kept.push(new Array<number>(100_000).fill(kept.length));
    }
  }
}
