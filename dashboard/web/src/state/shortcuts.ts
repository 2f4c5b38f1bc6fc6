/** Keyboard shortcuts. None acts while someone types, and all can be switched off in the help dialog and in the settings. */

import { settings } from './settings.svelte';

type Action = () => void;

const actions = new Map<string, Action[]>();
let prefix: { key: string; at: number } | null = null;

/** Binds `g d`, `/`, `Space`, … until the returned function is called. The binding made last wins. */
export function bind(keys: string, action: Action): () => void {
  const stack = actions.get(keys) ?? [];
  stack.push(action);
  actions.set(keys, stack);
  return () => {
    const at = stack.indexOf(action);
    if (at >= 0) stack.splice(at, 1);
  };
}

/** Does what these keys do now; false if they do nothing. `ask`: only says so. */
export function perform(keys: string, ask = false): boolean {
  const action = actions.get(keys)?.at(-1);
  if (action === undefined) return false;
  if (!ask) action();
  return true;
}

function typing(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  // Nobody types into a box that is ticked.
  if (target instanceof HTMLInputElement && target.type === 'checkbox') return false;
  return target.isContentEditable || ['INPUT', 'TEXTAREA', 'SELECT'].includes(target.tagName);
}

/** Space and the arrows belong to the control that has the focus. */
function operates(target: EventTarget | null, key: string): boolean {
  return key === 'Space' && target instanceof HTMLElement && ['BUTTON', 'A', 'SUMMARY', 'INPUT'].includes(target.tagName);
}

addEventListener('keydown', (event) => {
  if (!settings.shortcuts || event.defaultPrevented || event.isComposing) return;
  // Many keyboards have brackets with AltGr, which some systems tell as Ctrl and Alt.
  if (event.metaKey || ((event.ctrlKey || event.altKey) && !event.getModifierState('AltGraph')) || typing(event.target)) return;
  if (document.querySelector('dialog[open]') !== null) return;
  const key = event.key === ' ' ? 'Space' : event.key;
  if (operates(event.target, key)) return;
  const joined = prefix !== null && event.timeStamp - prefix.at < 1_500 ? `${prefix.key} ${key}` : key;
  prefix = null;
  const action = actions.get(joined)?.at(-1) ?? actions.get(key)?.at(-1);
  if (action !== undefined) {
    event.preventDefault();
    action();
  } else if (key === 'g') {
    prefix = { key, at: event.timeStamp };
  }
});
