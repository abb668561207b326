import type { Layout } from '../../layout/layout.ts';
import { type PluginManifest, readPluginManifest } from '../../mirror/manifest/readManifest.ts';
import type { OpenRegistry } from '../../mirror/session.ts';
import type { BundleUse } from '../../mirror/sync/sync.ts';
import type { RegistryOptions } from '../../registry/registry.ts';
import { OptionConflict } from './errors.ts';
import type { RegistryFlags } from './tables.ts';

/** Where a command reads manifest and images: registries, or the bundle of --from. */
export interface Source {
  readonly manifest: PluginManifest;
  readonly layout?: Layout;
  readonly bundle?: BundleUse;
  /** The globs with which the bundle was made. */
  readonly only?: readonly string[];
}

/**
 * Runs work with the manifest and the images of `--from`, or with the manifest of `--manifest`.
 * @param named the manifest that the user named; undefined: that of the bundle, else manifest.json
 * @throws OptionConflict if `--from` and an option that needs a registry are given; and as openBundle and readPluginManifest
 */
export async function withSource<T>(
  flags: Pick<RegistryFlags, 'engine'> & {
    readonly manifest: string;
    readonly from: string | undefined;
    readonly update?: unknown;
  },
  named: string | undefined,
  work: (source: Source) => Promise<T>,
): Promise<T> {
  const { from, engine, update } = flags;
  if (from === undefined) return work({ manifest: await readPluginManifest(flags.manifest) });
  const conflict = update !== undefined ? '--update' : engine === 'oras' ? '--engine oras' : undefined;
  if (conflict !== undefined)
    throw new OptionConflict(`--from and ${conflict} contradict each other`, {
      expected: 'one of them',
      found: 'both',
      hint: `Leave ${conflict} out: the bundle has exactly the images of its lockfile, and no registry is asked.`,
    });
  const { openBundle } = await import('../../mirror/bundle/openBundle.ts');
  const { manifest, layout, only, requires, lacking, close } = await openBundle(from, named);
  try {
    return await work({ manifest, layout, only, bundle: { path: layout.path, requires, lacking } });
  } finally {
    await close();
  }
}

/**
 * Returns the function that opens a command's registry, with the manifest's mirrors. It loads the network code only when it is
 * called. With a layout, everything is read from it. A user name on the command line is meant for one host: the one of
 * `--registry`, else that of the manifest.
 */
export function openerOf(
  { manifest, layout }: Source,
  options: RegistryOptions,
  registry: string | undefined,
): OpenRegistry {
  return async onEvent => {
    const { openRegistry } = await import('../../registry/openRegistry.ts');
    const [host = ''] = (registry ?? manifest.registry).split('/');
    return openRegistry({
      mirrors: manifest.mirrors,
      credentialsFor: [host],
      ...options,
      onEvent,
      ...(layout === undefined ? {} : { layout }),
    });
  };
}
