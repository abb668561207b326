import type { EntryKind } from '../../mirror/extract/layers/overlay.ts';

export interface StackEntry {
  readonly path: string;
  readonly kind: EntryKind;
}

/** What a stack of layers shows, by the book: they are laid on each other in a real tree of names, the bottom first. */
export function layOver(layers: readonly (readonly StackEntry[])[]): Map<string, { kind: EntryKind; layer: number }> {
  let tree = new Map<string, { kind: EntryKind; layer: number }>();
  const below = (path: string, root: string) => root === '' || path.startsWith(`${root}/`);
  layers.forEach((entries, layer) => {
    for (const { path } of entries) {
      const name = path.split('/').at(-1) ?? '';
      const folder = path.split('/').slice(0, -1).join('/');
      if (!name.startsWith('.wh.')) continue;
      const target = [...(folder === '' ? [] : [folder]), name.slice(4)].join('/');
      const gone = (other: string) =>
        name === '.wh..wh..opq' ? below(other, folder) : other === target || below(other, target);
      tree = new Map([...tree].filter(([other]) => !gone(other)));
    }
    for (const { path, kind } of entries) {
      const parts = path.split('/');
      if (parts.at(-1)?.startsWith('.wh.')) continue;
      for (let depth = 1; depth < parts.length; depth++) {
        const above = parts.slice(0, depth).join('/');
        if (tree.get(above)?.kind !== 'directory') tree.set(above, { kind: 'directory', layer });
      }
      if (kind !== 'directory') tree = new Map([...tree].filter(([other]) => !below(other, path)));
      tree.set(path, { kind, layer });
    }
  });
  return tree;
}
