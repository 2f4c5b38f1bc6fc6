/** Short messages about what an action did. Errors stay until they are dismissed; at most four are shown. */

export interface Toast {
  id: number;
  kind: 'ok' | 'error';
  text: string;
}

class Toasts {
  list = $state.raw<Toast[]>([]);
  #next = 1;

  ok(text: string): void {
    const id = this.#add('ok', text);
    setTimeout(() => this.dismiss(id), 5_000);
  }

  error(error: unknown): void {
    this.#add('error', error instanceof Error ? error.message : String(error));
  }

  dismiss(id: number): void {
    this.list = this.list.filter((toast) => toast.id !== id);
  }

  #add(kind: Toast['kind'], text: string): number {
    const id = this.#next;
    this.#next += 1;
    this.list = [...this.list, { id, kind, text }].slice(-4);
    return id;
  }
}

export const toasts = new Toasts();
