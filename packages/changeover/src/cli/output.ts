import type { ChangeoverEvent, Status, Verdict } from '../changeover.ts';
import { LiveRegion } from './live.ts';
import { renderFailure, renderLeft, type Failure } from './render/error.ts';
import { EMPTY_VIEW, keepsProgress, nextView, renderEvent, renderLive, type RunView } from './render/progress.ts';
import { createStyle, type Screen } from './render/text.ts';
import type { Terminal } from './terminal.ts';

/** Where everything that is told goes: JSON lines, a terminal with bars, or plain lines in a pipe. */
export interface Output {
  readonly screen: Screen;
  event(event: ChangeoverEvent): void;
  /** Text for people; with `--json` its `data` as an event, where it has one. */
  say(text: string, data?: { readonly event: string }): void;
  /** Replaces what was shown before, on a terminal; elsewhere one block after the other. */
  show(text: string, data: { readonly event: string }): void;
  result(text: string, data: object): void;
  fail(failure: Failure, left: Status | null): void;
  /** False for a verdict that has already been told as an event. */
  isNew(verdict: Verdict): boolean;
  /** Removes the bars, so that a question or the end stands alone. */
  settle(): void;
}

export function createOutput(terminal: Terminal, options: { readonly json: boolean }): Output {
  return options.json ? new JsonOutput(terminal) : new HumanOutput(terminal);
}

class JsonOutput implements Output {
  readonly screen: Screen = { style: createStyle(false), width: Infinity };
  readonly #terminal: Terminal;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  event(event: ChangeoverEvent): void {
    this.#line(event);
  }

  say(_text: string, data?: { readonly event: string }): void {
    if (data !== undefined) this.#line(data);
  }

  show(_text: string, data: { readonly event: string }): void {
    this.#line(data);
  }

  result(_text: string, data: object): void {
    this.#line({ event: 'result', ...data });
  }

  fail({ code, message, hint, exitCode, causes }: Failure, left: Status | null): void {
    const state = left === null ? null : renderLeft(left);
    this.#line({ event: 'error', code, message, hint, exitCode, causes, state });
  }

  isNew(): boolean {
    return true;
  }

  settle(): void {
    // Lines stay as they are.
  }

  #line(value: object): void {
    this.#terminal.stdout.write(`${JSON.stringify(value)}\n`);
  }
}

const REPAINT_MS = 100;

class HumanOutput implements Output {
  readonly #terminal: Terminal;
  readonly #live: LiveRegion | null;
  #view: RunView = EMPTY_VIEW;
  #progressShownAtMs: number | null = null;
  #lastLine: string | null = null;
  #paintedAtMs = -Infinity;
  readonly #told = new Set<string>();
  #painter: NodeJS.Timeout | null = null;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
    this.#live = terminal.isTTY ? new LiveRegion(terminal) : null;
  }

  get screen(): Screen {
    const width = this.#terminal.isTTY ? this.#terminal.size().columns : Infinity;
    return { style: createStyle(this.#terminal.isColoured), width };
  }

  event(event: ChangeoverEvent): void {
    const nowMs = performance.now();
    const isPipe = this.#live === null;
    const line = renderEvent(this.screen, this.#view, event, { nowMs, isPipe });
    this.#view = nextView(this.#view, event, nowMs);
    if (event.event === 'verdict') this.#told.add(identityOf(event.verdict));
    if (this.#live === null) this.#keep(event, line, nowMs);
    else this.#repaint(this.#live, line, nowMs);
  }

  #keep(event: ChangeoverEvent, line: string | null, nowMs: number): void {
    if (line === null || line === this.#lastLine) return;
    if (event.event === 'progress') {
      if (!keepsProgress(event, this.#progressShownAtMs, nowMs)) return;
      this.#progressShownAtMs = nowMs;
    }
    this.#lastLine = line;
    this.#print(line);
  }

  #repaint(live: LiveRegion, line: string | null, nowMs: number): void {
    if (line !== null) live.print(line, renderLive(this.screen, this.#view, nowMs));
    // Long synchronous work (a transaction of SQLite) leaves no room for the timer, but tells its progress.
    else if (nowMs - this.#paintedAtMs >= REPAINT_MS) this.#paint();
    if (this.#painter !== null) return;
    this.#painter = setInterval(() => {
      this.#paint();
    }, REPAINT_MS);
    // Bars alone never keep the process alive.
    this.#painter.unref();
  }

  say(text: string): void {
    this.#print(text);
  }

  show(text: string): void {
    if (this.#live === null) this.#print(text);
    else this.#live.draw(text.split('\n'));
  }

  result(text: string): void {
    this.settle();
    if (text !== '') this.#print(text);
  }

  fail(failure: Failure, left: Status | null): void {
    this.settle();
    const text = renderFailure(this.screen, failure, left === null ? null : renderLeft(left));
    this.#terminal.stderr.write(`${text}\n`);
  }

  isNew(verdict: Verdict): boolean {
    return !this.#told.has(identityOf(verdict));
  }

  settle(): void {
    if (this.#painter !== null) clearInterval(this.#painter);
    this.#painter = null;
    this.#live?.clear();
  }

  #paint(): void {
    this.#paintedAtMs = performance.now();
    this.#live?.draw(renderLive(this.screen, this.#view, this.#paintedAtMs));
  }

  #print(text: string): void {
    if (this.#live === null) this.#terminal.stdout.write(`${text}\n`);
    else this.#live.print(text);
  }
}

function identityOf({ check, outcome, evidence }: Verdict): string {
  return JSON.stringify([check, outcome, evidence]);
}
