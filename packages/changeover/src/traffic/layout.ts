import { join } from 'node:path';

/** Where the gateway keeps things, below `<state folder>/gateway`. */
interface Located {
  readonly folder: string;
}

export function gatewayFolder(stateDir: string): string {
  return join(stateDir, 'gateway');
}

export const reportsFolder = ({ folder }: Located): string => join(folder, 'workers');
export const supervisorLock = ({ folder }: Located): string => join(folder, 'supervisor.lock');
export const supervisorRecord = ({ folder }: Located): string => join(folder, 'supervisor.json');
export const logFile = ({ folder }: Located, who: 'supervisor' | 'worker' | 'keeper'): string =>
  join(folder, `${who}.log`);
