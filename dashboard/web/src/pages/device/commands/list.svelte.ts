/** The commands of one device, newest first: from the API, and kept up to date by frames. */

import { api } from '../../../api/client';
import type { CommandDetail, CommandRequest } from '../../../api/types';
import { type CommandView, Revisions } from '../../../live/alerts';
import type { CommandState } from '../../../live/frame';
import { link } from '../../../state/live.svelte';

const PAGE = 20;
const KEPT_MAX = 500;

/** States in which a result, or its absence, is not decided yet. */
export function isOpen(state: CommandState): boolean {
  return state === 'queued' || state === 'sent' || state === 'delivered' || state === 'in_progress';
}

export class CommandList {
  items = $state.raw<CommandView[]>([]);
  /** With their steps, for those that were looked at. */
  details = $state.raw<Record<string, CommandDetail>>({});
  loaded = $state(false);
  error = $state<string | null>(null);
  more = $state(false);
  readonly #device: string;
  readonly #known = new Revisions<CommandView>(KEPT_MAX);
  #cursor: string | null = null;
  #busy = false;
  #again = false;

  constructor(device: string) {
    this.#device = device;
  }

  /** Until the returned function is called. */
  open(): () => void {
    void this.reload();
    return link.client.listen({
      commands: (events) => {
        for (const event of events) {
          if (event.device !== this.#device || !this.#known.put(event)) continue;
          // Arguments, results and steps come from the API only.
          const known = this.#known.get(event.id);
          if (known?.created === undefined || !isOpen(event.state) || this.details[event.id]) void this.look(event.id);
        }
        this.#show();
      },
      lost: () => void this.reload(),
    });
  }

  /** Asks for the newest page; what frames have said since stays. */
  async reload(): Promise<void> {
    if (this.#busy) {
      this.#again = true;
      return;
    }
    this.#busy = true;
    try {
      const page = await api.commands(this.#device, { limit: PAGE });
      for (const command of page.items) this.#known.put(command);
      if (this.#cursor === null) {
        this.#cursor = page.next;
        this.more = page.next !== null;
      }
      this.loaded = true;
      this.error = null;
      this.#show();
    } catch (error) {
      this.error = error instanceof Error ? error.message : String(error);
    } finally {
      this.#busy = false;
    }
    if (this.#again) {
      this.#again = false;
      void this.reload();
    }
  }

  async loadMore(): Promise<void> {
    if (this.#cursor === null) return;
    try {
      const page = await api.commands(this.#device, { limit: PAGE, cursor: this.#cursor });
      for (const command of page.items) this.#known.put(command);
      this.#cursor = page.next;
      this.more = page.next !== null;
      this.#show();
    } catch (error) {
      this.error = error instanceof Error ? error.message : String(error);
    }
  }

  async send(request: CommandRequest): Promise<void> {
    this.#known.put(await api.sendCommand(this.#device, request));
    this.#show();
  }

  async cancel(id: string): Promise<void> {
    this.#known.put(await api.cancelCommand(id));
    this.#show();
  }

  /** One with its steps. */
  async look(id: string): Promise<void> {
    try {
      const detail = await api.command(id);
      const seen = this.details[id];
      const { history: _history, ...command } = detail;
      this.#known.put(command);
      if (seen === undefined || detail.revision >= seen.revision) {
        const kept = Object.entries(this.details).filter(([one]) => this.#known.get(one) !== undefined);
        this.details = { ...Object.fromEntries(kept), [id]: detail };
      }
      this.#show();
    } catch {
      // The row stays as it is; opening it tries again.
    }
  }

  #show(): void {
    // ULIDs begin with their time.
    this.items = this.#known.all.sort((a, b) => (a.id < b.id ? 1 : -1));
  }
}
