import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ClientOptions, ComparisonReport, FromClient, Measured, ToClient } from './client.ts';
import type { Places } from './places.ts';

const CLIENT = fileURLToPath(new URL('./client.ts', import.meta.url));

/** The client process, as the demonstration talks to it. */
export class HouseholdProcess {
  readonly #child: ChildProcess;
  readonly #places: Places;

  constructor(places: Places) {
    const options: ClientOptions = {
      url: `http://127.0.0.1:${places.ports.gateway}`,
      ledgerFile: path.join(places.folder, 'household.ledger'),
      portraits: places.portraits,
    };
    this.#places = places;
    this.#child = fork(CLIENT, [JSON.stringify(options)], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  }

  enter(name: Extract<ToClient, { type: 'phase' }>['name']): void {
    this.#tell({ type: 'phase', name });
  }

  /** Holds the household's ledger against what is really stored on a side. */
  compare(side: 'legacy' | 'next'): Promise<ComparisonReport> {
    const root = side === 'legacy' ? this.#places.legacyRoot : this.#places.nextRoot;
    this.#tell({ type: 'compare', side, root, databaseUrl: this.#places.databaseUrl });
    return this.#answer('compared');
  }

  /** The household leaves: from here on nobody uses the gateway's address. */
  async leave(): Promise<Measured> {
    this.#tell({ type: 'pause' });
    await this.#answer('paused');
    this.#tell({ type: 'finish' });
    const measured = await this.#answer('measured');
    if (this.#child.exitCode === null) await once(this.#child, 'exit');
    return measured;
  }

  kill(): void {
    if (this.#child.exitCode === null) this.#child.kill('SIGKILL');
  }

  #tell(message: ToClient): void {
    this.#child.send(message);
  }

  async #answer<Type extends FromClient['type']>(type: Type): Promise<Extract<FromClient, { type: Type }>> {
    const gone = new AbortController();
    this.#child.once('exit', () => {
      gone.abort(new Error('the household died'));
    });
    for (;;) {
      const [message] = (await once(this.#child, 'message', { signal: gone.signal })) as [FromClient];
      if (message.type === type) return message as Extract<FromClient, { type: Type }>;
    }
  }
}
