import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { lookup } from 'node:dns/promises';
import net from 'node:net';
import { getSystemErrorName } from 'node:util';

import { ChangeoverError } from '../errors.ts';

/** A bound TCP socket as Node's own cluster module holds it; `net` exports its maker without typing it. */
interface BoundHandle {
  readonly fd: number;
  getsockname(out: { port?: number }): number;
  close(): void;
}

interface NetWithHandles {
  _createServerHandle(address: string, port: number, family: 4 | 6): BoundHandle | number;
}

export interface Listener {
  readonly descriptor: number;
  close(): void;
}

/**
 * Binds the port without listening: whoever shares the descriptor listens and accepts, and as long as one process has it open,
 * connections wait in the kernel. Throws `CHG_TRAFFIC_PORT_BUSY`.
 */
export async function bindListener(listen: { readonly host: string; readonly port: number }): Promise<Listener> {
  const { address, family } = await lookup(listen.host);
  const handle = (net as unknown as NetWithHandles)._createServerHandle(address, listen.port, family === 6 ? 6 : 4);
  if (typeof handle === 'number') throw portBusy(listen, handle);
  // An address in use is reported late by libuv; until then the socket just has no port.
  const name: { port?: number } = {};
  const status = handle.getsockname(name);
  if (status !== 0 || (listen.port !== 0 && name.port !== listen.port)) {
    handle.close();
    throw portBusy(listen, status);
  }
  return {
    descriptor: handle.fd,
    close: () => {
      handle.close();
    },
  };
}

function portBusy(
  listen: { readonly host: string; readonly port: number },
  status: number,
): ChangeoverError<'CHG_TRAFFIC_PORT_BUSY'> {
  const holder = holderOf(listen.port);
  return new ChangeoverError(
    'CHG_TRAFFIC_PORT_BUSY',
    { host: listen.host, port: listen.port, holder: holder ?? 'an unknown process' },
    { cause: new Error(`bind: ${getSystemErrorName(status)}`) },
  );
}

/** Who listens on `port`, as far as this user may see. */
function holderOf(port: number): string | null {
  if (process.platform !== 'linux') return null;
  const inodes = new Set([...inodesOf('/proc/net/tcp', port), ...inodesOf('/proc/net/tcp6', port)]);
  if (inodes.size === 0) return null;
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    if (descriptorsOf(pid).some((target) => inodes.has(target))) return `process ${pid} (${commandOf(pid)})`;
  }
  return null;
}

function inodesOf(table: string, port: number): string[] {
  const LISTENING = '0A';
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  return (readOrNothing(table) ?? '')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[1]?.endsWith(`:${hex}`) === true && fields[3] === LISTENING)
    .map((fields) => `socket:[${fields[9] ?? ''}]`);
}

function descriptorsOf(pid: string): string[] {
  const folder = `/proc/${pid}/fd`;
  return (
    unlessUnseen(() =>
      readdirSync(folder).map((name) => unlessUnseen(() => readlinkSync(`${folder}/${name}`)) ?? ''),
    ) ?? []
  );
}

function commandOf(pid: string): string {
  return (readOrNothing(`/proc/${pid}/cmdline`) ?? '').replaceAll('\0', ' ').trim().slice(0, 80);
}

function readOrNothing(path: string): string | null {
  return unlessUnseen(() => readFileSync(path, 'latin1'));
}

/** Processes end and belong to others while they are looked at; that is no failure. */
function unlessUnseen<T>(look: () => T): T | null {
  try {
    return look();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH' || code === 'EACCES' || code === 'EPERM') return null;
    throw error;
  }
}
