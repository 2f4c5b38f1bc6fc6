/** Lists of names as one part of the address: separated by commas; a comma of a name has a backslash before it. */

export function packList(names: readonly string[]): string {
  return names.map((name) => name.replace(/[\\,]/g, '\\$&')).join(',');
}

/** Empty names and repeats are left out; at most `max` are read. */
export function unpackList(text: string | null, max: number): string[] {
  const names: string[] = [];
  let name = '';
  const end = () => {
    if (name !== '' && names.length < max && !names.includes(name)) names.push(name);
    name = '';
  };
  for (let at = 0; at < (text ?? '').length; at += 1) {
    const sign = (text as string)[at] as string;
    if (sign === '\\' && at + 1 < (text as string).length) {
      at += 1;
      name += (text as string)[at] as string;
    } else if (sign === ',') {
      end();
    } else {
      name += sign;
    }
  }
  end();
  return names;
}
