/** One answer to one question, kept for good. */
export interface AuditEntry {
  readonly atMs: number;
  readonly actor: string;
  readonly host: string;
  readonly planHash: string | null;
  readonly question: string;
  readonly answer: string;
}

export type MessageLevel = 'error' | 'warning' | 'log';

export interface Message {
  readonly atMs: number;
  readonly level: MessageLevel;
  readonly text: string;
}
