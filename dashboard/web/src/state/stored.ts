/** Choices kept in this browser. Storage may be switched off: then they last as long as the page. */

export function read(name: string): string | null {
  try {
    return localStorage.getItem(`pulsewire.${name}`);
  } catch {
    return null;
  }
}

/** An empty text forgets the choice. */
export function write(name: string, value: string): void {
  try {
    if (value === '') localStorage.removeItem(`pulsewire.${name}`);
    else localStorage.setItem(`pulsewire.${name}`, value);
  } catch {
    // Nothing to do: the choice holds until the page is closed.
  }
}
