/** What is written and not saved outlasts a look at another page of ours; closing the tab would lose it, so the browser asks. */

const checks: (() => boolean)[] = [];

/** For as long as the page lives; each kind of draft once. */
export function askBeforeClosing(unsaved: () => boolean): void {
  if (checks.length === 0) {
    window.addEventListener('beforeunload', (event) => {
      if (checks.some((check) => check())) event.preventDefault();
    });
  }
  checks.push(unsaved);
}
