import { isSecretName, maskAddresses } from '../plan/spec.ts';
import type { Json } from '../plan/words.ts';
import { toText } from './tree.ts';

/** Stands for a secret, with nothing of it: not even its length. */
export const MASK = '••••';
const SHOWN_CHARACTERS = 100;
/** A shorter text is in every sentence by chance; no message quotes values anyway. */
const MASKED_FROM = 4;

/** Knows the secrets of one reading of the settings and keeps them out of everything that is shown. */
export class Mask {
  readonly #secrets = new Set<string>();

  add(value: Json | undefined): void {
    if (value === undefined || value === null) return;
    if (typeof value === 'object') for (const item of Object.values(value)) this.add(item);
    else
      for (const form of [toText(value), JSON.stringify(value).slice(1, -1)])
        if (form.length >= MASKED_FROM && typeof value !== 'boolean') this.#secrets.add(form);
  }

  /** A text from elsewhere (a schema, a function of the plan) without the secrets in it. */
  text(text: string): string {
    const longestFirst = [...this.#secrets].sort((a, b) => b.length - a.length);
    return maskAddresses(longestFirst.reduce((masked, secret) => masked.replaceAll(secret, MASK), text));
  }

  /** A value as a report shows it. */
  show(value: Json | undefined, isSecret: boolean): string {
    if (value === undefined) return '?';
    if (isSecret) return MASK;
    const text = this.text(JSON.stringify(value));
    return text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text;
  }
}

/** Without a word of the plan the name decides. */
export function isSecret(name: string, said: boolean | undefined): boolean {
  return said ?? isSecretName(name);
}
