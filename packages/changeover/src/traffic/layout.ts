import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** Where the gateway keeps things, below `<state folder>/gateway`. */
interface Located {
  readonly folder: string;
}

export function gatewayFolder(stateDir: string): string {
  return join(stateDir, 'gateway');
}

export const reportsFolder = ({ folder }: Located): string => join(folder, 'workers');
/** What the workers say of one slice. */
export const sliceReportsFolder = ({ folder }: Located, id: string): string => join(folder, 'slices', id);

export function sliceReportsFolders({ folder }: Located): string[] {
  const all = join(folder, 'slices');
  return existsSync(all) ? readdirSync(all).map((id) => join(all, id)) : [];
}

export const supervisorLock = ({ folder }: Located): string => join(folder, 'supervisor.lock');
export const supervisorRecord = ({ folder }: Located): string => join(folder, 'supervisor.json');
export const logFile = ({ folder }: Located, who: 'supervisor' | 'worker' | 'keeper'): string =>
  join(folder, `${who}.log`);
